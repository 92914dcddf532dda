"""Servers that others wrote, as real processes: each is installed into an environment of its own, by its own pins."""
