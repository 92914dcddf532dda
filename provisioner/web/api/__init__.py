"""The JSON API, webhooks and health."""
