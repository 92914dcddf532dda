"""Runs, their pages of operations, and the state of each target."""
