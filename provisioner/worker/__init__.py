"""The processes that do the work, on Celery. The only package that knows Celery.

A message is never more than a nudge: "run R has something to do", "target T has work". What there is to do lies in
Redis, so a nudge that is lost, late or doubled harms nothing; beat's tick finds whatever was forgotten.
"""

# By this name `celery --app provisioner.worker` finds it
from provisioner.worker.app import app

__all__ = ["app"]
