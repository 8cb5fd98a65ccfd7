"""The API, the dashboard and /metrics, in a process of their own."""
