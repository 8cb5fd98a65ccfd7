"""Finds the scripts, their dependencies and their changes."""
