"""Watching: a folder becomes batches of settled changed paths."""

from k6d.watch.files import is_candidate
from k6d.watch.watcher import Watcher

__all__ = ["Watcher", "is_candidate"]
