"""The control page and the HTTP API."""
