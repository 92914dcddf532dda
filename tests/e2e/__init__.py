"""Whole runs, by processes as an operator starts them."""
