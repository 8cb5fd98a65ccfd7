"""Helpers that tests share: targets, receivers, daemons, records."""
