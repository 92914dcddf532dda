"""What follows from people and accounts: the planner, without any I/O."""
