"""HTTP: the API, the live events and the dashboard; `serving` has them answered."""

from k6d.api.standby import serving

__all__ = ["serving"]
