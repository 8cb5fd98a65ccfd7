"""HTTP: the API, the live events and the dashboard; `serving` runs them in the daemon's loop."""

from k6d.api.server import serving

__all__ = ["serving"]
