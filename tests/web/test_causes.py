"""Whatever an operation was not done for, the page says what to do."""

from __future__ import annotations

import re
from pathlib import Path

from provisioner.targets import responses
from provisioner.web.pages.run_view import _REMEDIES

PACKAGE = Path(responses.__file__).parents[1]
CODE = re.compile(r"\b(?:Permanent|Temporary|Unclear)\(\s*\"([a-z_]+)\"")


def test_every_code_of_a_failure_has_its_advice() -> None:
    codes = {code for code, _ in responses._MEANING.values()}
    for folder in ("targets", "runtime", "runs", "dispatch", "progress"):
        for path in (PACKAGE / folder).rglob("*.py"):
            codes |= set(CODE.findall(path.read_text(encoding="utf-8")))
    assert len(codes) > 30
    assert codes - _REMEDIES.keys() == set()
