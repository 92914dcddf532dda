"""Documents as text that is the same in each run, and the files that pin them."""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any, Final

GOLDEN: Final = Path(__file__).parent / "golden"
#: Set it to anything, and the files are written instead of compared.
WRITE: Final = "PROVISIONER_TEST_WRITE_GOLDEN"
_SHOWN: Final = 20
_RUN: Final = re.compile(r"\b[0-9]{8}-[0-9]{6}-[0-9]{3}[0-9a-f]{4}\b")
_MOMENT: Final = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|\+00:00)")
_SECONDS: Final = re.compile(r"\b1[0-9]{9}\b")
#: habitate numbers its members in the order in which they come.
_MSID: Final = re.compile(r"\b[0-9]+\.[0-9A-Za-z]{20,}\b")
_ENTRY: Final = re.compile(r"\b1[0-9]{12}-[0-9]+\b")
#: An enrolment is due some days after today.
_DUE: Final = re.compile(r'(?<="due_date": ")[0-9]{4}-[0-9]{2}-[0-9]{2}(?=")')
_ADDRESS: Final = re.compile(r"127\.0\.0\.1:[0-9]+")


def fixed(document: Any, folder: Path) -> str:
    """The JSON, indented and in its own order; what differs from run to run is replaced by its place among its like."""
    text = json.dumps(document, indent=1, ensure_ascii=False).replace(str(folder), "FOLDER")
    for name, pattern in (("RUN", _RUN), ("ENTRY", _ENTRY), ("MSID", _MSID)):
        for place, found in enumerate(dict.fromkeys(pattern.findall(text)), 1):
            text = text.replace(found, f"{name}{place}")
    text = _DUE.sub("DAY", _SECONDS.sub("1000000000", text))
    return _ADDRESS.sub("ADDRESS", _MOMENT.sub("MOMENT", text)) + "\n"


def compare(name: str, document: Any, folder: Path) -> list[str]:
    """The lines in which a document differs from its file; none where it is the same to the letter."""
    path, now = GOLDEN / f"{name}.json", fixed(document, folder)
    if os.environ.get(WRITE):
        path.write_text(now, encoding="utf-8")
        return []
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if before == now:
        return []
    changed = list(difflib.unified_diff(before.splitlines(), now.splitlines(), path.name, "now", n=1, lineterm=""))
    return changed[:_SHOWN]
