"""The command line, called as it is typed."""
