"""Deployments of real processes, whose parts are killed while runs are under way."""
