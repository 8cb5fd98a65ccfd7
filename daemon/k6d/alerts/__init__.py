"""From a verdict to a delivered message: incidents, the outbox, delivery through Apprise.

1. `alerting` records a run; `incidents` decides whether to notify; `message` writes the message.
2. `outbox` stores the message.
3. `delivery.sender` sends it: `planning` decides when, `addressing` to whom, `render` formats it.
"""
