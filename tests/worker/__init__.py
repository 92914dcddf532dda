"""The worker and beat: what only Celery sees."""
