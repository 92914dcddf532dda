"""What the commands share: the settings, the logs, the name of who types."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from provisioner import logs
from provisioner.cli.global_options import (
    CONFIG_VARIABLE,
    DEBUG_VARIABLE,
    LOG_FORMAT_VARIABLE,
    debug_wanted,
    named_by_option,
)
from provisioner.errors import ConfigurationError
from provisioner.example import ROSTER, SETTINGS, where
from provisioner.settings import DEFAULT_CONFIG, Loaded, Settings, load
from provisioner.settings.secrets import secrets_of
from provisioner.store.redis.address import RedisAddress

#: Seconds in which Redis has to answer what a person waits for, and what reads or changes everything at once. One that
#: hangs already when a command begins is noticed sooner, see `OPENS_WITHIN`.
ANSWERS_WITHIN: Final = 10.0
LONG_COMMAND: Final = 30.0

log = logs.get_logger(__name__)


def who() -> str:
    """The name of whoever types, for the record."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def settings_and_logs(*, level: str = "warning") -> Settings:
    """As `loaded_and_logs`, with a warning when there is no settings file."""
    loaded = loaded_and_logs(level=level)
    if (missing := missing_file(loaded)) is not None:
        log.warning("settings", warning=f"{missing.message} {missing.remedy}")
    return loaded.settings


def missing_file(loaded: Loaded) -> ConfigurationError | None:
    """The error to show when there is no settings file, and the environment configures no target either."""
    if loaded.config is not None or loaded.settings.targets:
        return None
    return ConfigurationError(
        f"There is no settings file: {DEFAULT_CONFIG} does not exist in {Path.cwd()}, and neither --config nor "
        f"{CONFIG_VARIABLE} names one.",
        remedy="Change to the folder that holds it, name it with --config, or write one. "
        f"Example settings are in {where(SETTINGS)}, their roster in {where(ROSTER)}.",
    )


def loaded_and_logs(*, level: str = "warning") -> Loaded:
    """Read the settings and set up the logs, in which their secrets never appear.

    Args:
        level: what is logged at least, unless all is wanted: a command that answers a person logs only what went wrong,
            a process that runs for months tells what it does.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    wanted = os.environ.get(LOG_FORMAT_VARIABLE, "console" if sys.stderr.isatty() else "json").lower()
    logs.configure("debug" if debug_wanted() else level, json=wanted != "console")
    own = (DEBUG_VARIABLE, LOG_FORMAT_VARIABLE)
    loaded = load(
        named_by_option(), environ={name: value for name, value in os.environ.items() if name.upper() not in own}
    )
    logs.hide(*secrets_of(loaded.settings), *RedisAddress.of(loaded.settings).secrets)
    for warning in loaded.warnings:
        log.warning("settings", warning=warning)
    return loaded
