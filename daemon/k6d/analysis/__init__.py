"""Judging a result: pure functions over the records."""
