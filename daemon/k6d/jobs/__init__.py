"""Runs jobs from start to finish: queue, schedule and pipeline."""
