"""The daemon process: start, main loop and shutdown."""
