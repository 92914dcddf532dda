"""Calling commands in this process, and the settings that they are called with."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from typer.testing import CliRunner

from provisioner.cli.app import app

ROOT: Final = Path(__file__).resolve().parents[2]
HEADER: Final = "employee_id,employment_status,first_name,last_name,work_email"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command did: its exit code, its result, and what it said besides."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document that it has to be."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def call(*words: str, **variables: str) -> Answer:
    """Run a command in this process; `variables` are set in its environment."""
    result = CliRunner().invoke(app, list(words), env=variables)
    return Answer(result.exit_code, result.stdout, result.stderr)


def command(*words: str) -> list[str]:
    """The command line of the same in a process of its own."""
    return [sys.executable, "-m", "provisioner", *words]


def environment(**variables: str) -> dict[str, str]:
    """The environment of such a process: this one's, with the sources on the path."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **variables}


def write_roster(path: Path, people: Mapping[str, str]) -> None:
    """A roster: key → `active` or `left`."""
    rows = [f"{key},{state},First{key},Last{key},{key.lower()}@example.com" for key, state in people.items()]
    path.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")


def write_settings(folder: Path, **changes: Any) -> Path:
    """Settings of one target, traitly, and an empty roster besides them; `changes` replace top-level keys."""
    roster = folder / "roster.csv"
    if not roster.exists():
        write_roster(roster, {"E1": "active", "E2": "active"})
    document = {
        "data_dir": str(folder / "data"),
        "timezone": "Australia/Sydney",
        "roster": {"url": str(roster), "employed": "employment_status = 'active'"},
        "targets": {"traitly": traitly("http://127.0.0.1:9/traitly")},
        **changes,
    }
    path = folder / "provisioner.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def traitly(base_url: str) -> dict[str, Any]:
    """A target of that kind."""
    return {
        "base_url": base_url,
        "token": "sandbox-traitly-token",
        "rate_limit": "6000/minute",
        "match": ["customer_id"],
        "attributes": {
            "customer_id": "employee_id",
            "name": "first_name || ' ' || last_name",
            "email": "LOWER(work_email)",
            "plan": "'Employee'",
        },
        "leaver": {"plan": "'Leaver'"},
    }
