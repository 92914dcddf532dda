"""Sessions, audit trail, backup and erasing."""
