"""What vendors report, from the stored event to its effect, and what goes out to others."""
