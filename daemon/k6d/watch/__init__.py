"""Watching: a folder becomes batches of settled changed paths."""

from k6d.watch.files import candidates_in, is_candidate
from k6d.watch.watcher import Watcher

__all__ = ["Watcher", "candidates_in", "is_candidate"]
