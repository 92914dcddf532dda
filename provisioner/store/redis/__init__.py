"""The connection to Redis: address, client, server, scripts, key names and layout."""
