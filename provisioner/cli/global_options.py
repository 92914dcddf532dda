"""The options that every command takes, kept in the environment, so that a command's own processes have them too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CONFIG_VARIABLE: Final = "PROVISIONER_CONFIG"
#: These two steer the command only; the settings know nothing of them.
DEBUG_VARIABLE: Final = "PROVISIONER_DEBUG"
#: `console` or `json`, whatever standard error is.
LOG_FORMAT_VARIABLE: Final = "PROVISIONER_LOG_FORMAT"


def use(config: Path | None, *, debug: bool) -> None:
    """Put the global options into the environment, where the processes that a command starts find them too."""
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def debug_wanted() -> bool:
    """Whether tracebacks are shown, and everything is logged."""
    return os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")
