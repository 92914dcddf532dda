"""The people of the Django site."""
