"""What operators ask for: decisions, reports, checks, backup, erasing, retention."""
