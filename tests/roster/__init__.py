"""Rosters good and bad, and what has to become of them."""
