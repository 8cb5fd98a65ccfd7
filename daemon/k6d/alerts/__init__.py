"""From a verdict to a message that arrived: incidents, the outbox, delivery through Apprise.

`alerts` takes a run in (`incidents` decides, `message` words it, `outbox` keeps it); `sender` gets
it out (`routing` says to whom and when, `render` how it looks), by helpers (`delivery`, `courier`).
"""
