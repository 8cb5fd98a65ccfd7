"""The process that lives on: start, main loop, shutdown."""
