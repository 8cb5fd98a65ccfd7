"""The API, the dashboard and /metrics; they run in their own process."""
