"""k6d, the k6 daemon: runs k6 scripts when they change, judges, keeps and tells."""

__version__ = "0.1.0"
