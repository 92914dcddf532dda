"""Settings: sources, values, faults."""
