"""From a message in the outbox to an answer of its receiver."""
