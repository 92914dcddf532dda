"""What Redis holds for us, against a real server."""
