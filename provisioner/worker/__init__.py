"""The processes that do the work, on Celery. The only package that knows Celery.

A message is never more than a nudge: "run R has something to do", "target T has work". What there is to do lies in
Redis, so a nudge that is lost, late or doubled harms nothing; beat's tick finds whatever was forgotten.
"""

from provisioner.worker.app import app
from provisioner.worker.processes import run_beat, run_worker
from provisioner.worker.wakeups import nudge, nudge_target, workers

__all__ = ["app", "nudge", "nudge_target", "run_beat", "run_worker", "workers"]
