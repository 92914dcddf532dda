"""Reading back what a target's page in the documentation says of its attributes."""

from __future__ import annotations

import re
from pathlib import Path

_ROW = re.compile(r"^\| `([^`]+)` \| (yes|no) \| (yes|no) \| (yes|no) \|", re.MULTILINE)


def attributes_in(page: Path) -> dict[str, tuple[bool, bool, bool]]:
    """Attribute → taken by a create, taken by an update, shown: the rows of the page's attribute table."""
    found = _ROW.findall(page.read_text(encoding="utf-8"))
    assert len({name for name, *_ in found}) == len(found), "an attribute stands in the page twice"
    return {name: (create == "yes", update == "yes", shown == "yes") for name, create, update, shown in found}
