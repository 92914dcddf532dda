"""Commands as an operator gives them, some of them while everything else happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

#: Seconds that a command may take at most, whatever it was told.
_AT_MOST: Final = 240.0


@dataclass
class Command:
    """One command that runs; `began` is in monotonic seconds, `person` whom it is about, if it is about one."""

    process: subprocess.Popen[bytes]
    output: Path
    person: str | None = None
    began: float = field(default_factory=time.monotonic)

    def over(self) -> bool:
        """Whether it ended."""
        return self.process.poll() is not None


class Operator:
    """Gives commands of one deployment."""

    def __init__(self, settings: Path, folder: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONER_")}
        self._environment = environment | {"PROVISIONER_CONFIG": str(settings), "PYTHONWARNINGS": "ignore"}
        self._folder = folder
        self._count = 0

    def begin(self, *words: str, person: str | None = None) -> Command:
        """Begin a command with `--json`."""
        self._count += 1
        output = self._folder / f"command-{self._count}.json"
        with output.open("wb") as out, output.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "provisioner", *words, "--json"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        return Command(process, output, person)

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """A command to its end: its exit code and its document, empty where it has none."""
        command = self.begin(*words)
        try:
            code = command.process.wait(_AT_MOST)
        except subprocess.TimeoutExpired:
            command.process.kill()
            command.process.wait()
            raise
        text = command.output.read_text(encoding="utf-8")
        return code, json.loads(text) if text.strip() else {}
