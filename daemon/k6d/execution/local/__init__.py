"""k6 on this machine."""
