"""The words of the field as frozen values; nothing here reads, writes or waits."""
