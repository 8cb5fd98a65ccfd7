"""Which scripts there are, what they depend on, and when they change."""
