"""The Celery application: JSON only, nudges that are acknowledged at once, nothing that lies in wait for long."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Final

from celery import Celery
from celery.signals import setup_logging

from provisioner.settings import Settings, load
from provisioner.store.queue.wakeups import SCHEDULE_PREFIX
from provisioner.store.redis.address import RedisAddress

#: Single-person work has a queue of its own, so that bulk work never delays it.
URGENT: Final = "provisioner.urgent"
WORK: Final = "provisioner.work"
#: The task of a further process for a target, which gives way to every other one.
ASSIST: Final = "provisioner.assist"
#: Seconds; a nudge for later than this is left to the tick.
LONGEST_COUNTDOWN: Final = 60.0

app = Celery("provisioner", include=["provisioner.worker.tasks", "provisioner.worker.event_tasks"])


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load().settings


def configured(own: Settings) -> dict[str, Any]:
    """Celery's configuration for our settings."""
    broker = RedisAddress.of(own).celery_settings()
    transport = {**broker.pop("broker_transport_options", {}), "queue_order_strategy": "priority"}
    return {
        **broker,
        "broker_transport_options": transport,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_serializer": "json",
        "task_ignore_result": True,
        "task_default_queue": WORK,
        "task_create_missing_queues": True,
        "task_acks_late": False,
        "task_store_errors_even_if_ignored": False,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_max_tasks_per_child": None,
        "worker_send_task_events": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "enable_utc": True,
        "timezone": own.timezone,
        "beat_scheduler": "provisioner.worker.schedule:BoundedScheduler",
        "beat_max_loop_interval": 2,
        "redbeat_lock_timeout": 20,
        "redbeat_key_prefix": SCHEDULE_PREFIX,
    }


def configure() -> Celery:
    """The application, configured by this process's settings.

    Raises:
        ConfigurationError: the settings are wrong.
    """
    app.conf.update(configured(settings()))
    # They tell of every nudge
    for name in ("celery", "kombu"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return app


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery replaces the handlers of the root logger unless somebody answers this signal."""
