"""Claimed operations leave for a vendor here: claim, send, record."""
