"""Records and pure helpers for all rooms."""
