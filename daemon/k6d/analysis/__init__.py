"""Judges results; pure functions of the records."""
