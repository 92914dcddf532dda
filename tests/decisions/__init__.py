"""What people decide, and what they are told."""
