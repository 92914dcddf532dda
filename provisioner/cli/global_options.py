"""The options that every command takes, kept in the environment, so that a command's own processes have them too."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Final

CONFIG_VARIABLE: Final = "PROVISIONER_CONFIG"
#: These two steer the command only; the settings know nothing of them.
DEBUG_VARIABLE: Final = "PROVISIONER_DEBUG"
#: `console` or `json`, whatever standard error is.
LOG_FORMAT_VARIABLE: Final = "PROVISIONER_LOG_FORMAT"
_named: ContextVar[Path | None] = ContextVar("named", default=None)


def use(config: Path | None, *, debug: bool) -> None:
    """Put the global options into the environment, where the processes that a command starts find them too."""
    _named.set(config)
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def named_by_option() -> Path | None:
    """The settings file that `--config` names, so that an error can speak of the option; None without it."""
    return _named.get()


def debug_wanted() -> bool:
    """Whether tracebacks are shown, and everything is logged."""
    return os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")
