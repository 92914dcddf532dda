"""The example that ships with the program: an invented company, its roster on two days, and settings for the sandbox.

Everybody in it is made up; the addresses end in domains that are reserved for examples. `verify` says, without any of
the program's own planning, whether the sandbox holds what a roster asks for.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

#: The roster of the first day, the one of the second, and the settings, by the names of their files here.
ROSTER: Final = "roster.csv"
DAY_TWO: Final = "day_two.csv"
SETTINGS: Final = "provisioner.yaml"
_EXISTING: Final = "existing.yaml"


def content(name: str) -> bytes:
    """One of the files, as it ships."""
    return files(__name__).joinpath(name).read_bytes()


def where(name: str) -> Path:
    """The path of one of the files, to be read or copied by a person."""
    return Path(str(files(__name__).joinpath(name)))


def existing_accounts() -> dict[str, list[dict[str, Any]]]:
    """Accounts that are there before the first sync: kind → accounts in the vendor's read form."""
    accounts: dict[str, list[dict[str, Any]]] = yaml.safe_load(content(_EXISTING))
    return accounts
