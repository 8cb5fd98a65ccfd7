"""k6d, the k6 daemon: runs k6 scripts when they change, judges the results, tells when it matters."""

__version__ = "0.1.0"
