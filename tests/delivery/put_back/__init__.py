"""Redis is put back to an earlier state."""
