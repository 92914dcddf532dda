"""The write-back table."""
