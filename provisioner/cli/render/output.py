"""Where things go: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from provisioner.cli.render.whole_words import WholeWordsTable

#: Columns of a table that nobody's terminal limits.
_PIPED_WIDTH: Final = 160


class _Uncropped(Console):
    """A console on which what is wider than it goes on, instead of being cut."""

    def print(self, *objects: Any, crop: bool = False, **options: Any) -> None:
        """As `Console.print`."""
        super().print(*objects, crop=crop, **options)


def console(*, stderr: bool = False) -> Console:
    """A console on what the standard stream is at this moment."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    made = Console if stderr else _Uncropped
    return made(file=stream, width=width, highlight=False, markup=False, emoji=False)


def print_json(document: Mapping[str, Any]) -> None:
    """The one document of ``--json``. In ASCII, so that no locale can break it."""
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
    sys.stdout.flush()


def plain(text: object, *, keep: str = "") -> str:
    """Text of a roster or a vendor with its control characters made visible, so that none reaches the terminal."""
    return "".join(
        char if char in keep or unicodedata.category(char) not in ("Cc", "Cf") else f"\\x{ord(char):02x}"
        for char in str(text)
    )


def table(*headers: str, numbers: Iterable[str] = (), whole: Iterable[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are right-aligned, those in `whole` are never broken over lines."""
    made = WholeWordsTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    right, unbroken = set(numbers), set(whole)
    for header in headers:
        side: Literal["left", "right"] = "right" if header in right else "left"
        made.add_column(header, justify=side, overflow="fold", no_wrap=header in unbroken)
    return made


def cells(*values: object) -> list[Text]:
    """A row's cells, nothing in them taken for markup."""
    return [value if isinstance(value, Text) else Text(plain(value)) for value in values]


def local(moment: str | None, zone: ZoneInfo) -> str:
    """An ISO moment in the organisation's time; empty for none."""
    if not moment:
        return ""
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def span(seconds: float) -> str:
    """A length of time as people say it: 4s, 3m 20s, 2h 5m."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3600}h {whole % 3600 // 60}m"
