"""What is kept: layouts, backups, and people who are to be forgotten."""
