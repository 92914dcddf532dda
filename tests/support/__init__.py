"""What several tests share: the servers that they talk to."""
