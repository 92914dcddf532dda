"""What the commands share: the global options, the settings, the logs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer
from pydantic import BaseModel, SecretStr

from provisioner import logs
from provisioner.settings import Settings, load
from provisioner.store.address import RedisAddress

#: Steers this command only; the settings know nothing of it.
DEBUG_VARIABLE: Final = "PROVISIONER_DEBUG"

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the console script. `config`: the file of ``--config``; `debug`: tracebacks, and logs of everything."""

    config: Path | None = None
    debug: bool = False

    @classmethod
    def of(cls, context: typer.Context) -> Session:
        """The session of the call that a command belongs to."""
        found = context.find_object(cls)
        return found if found is not None else cls(debug=debug_wanted())

    def settings(self, *, level: str = "warning") -> Settings:
        """Set up the logs, and read the settings; their secrets appear in no log from then on.

        Args:
            level: what is logged at least, unless ``--debug`` asks for all: a command that answers a person logs only
                what went wrong, a process that runs for months tells what it does.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        logs.configure("debug" if self.debug else level, json=not sys.stderr.isatty())
        environ = {name: value for name, value in os.environ.items() if name.upper() != DEBUG_VARIABLE}
        loaded = load(self.config, environ=environ)
        logs.hide(*_secrets(loaded.settings), *RedisAddress.of(loaded.settings).secrets)
        for warning in loaded.warnings:
            log.warning("settings", warning=warning)
        return loaded.settings


def debug_wanted() -> bool:
    """Whether the environment asks for tracebacks."""
    return os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")


def _secrets(value: Any) -> Iterator[str]:
    """Every secret within settings."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _secrets(inner)
