"""The target habitate: what it lists, what it writes, and its boards."""
