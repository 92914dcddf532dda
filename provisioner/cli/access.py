"""`access`: the table that an auditor asks for."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, TextIO, TypedDict, cast

import typer

from provisioner.admin.whole_file import whole_file
from provisioner.cli.render.output import print_json
from provisioner.cli.runs import Json, Targets
from provisioner.cli.session import LONG_COMMAND, settings_and_logs, who
from provisioner.errors import UsageError
from provisioner.model.wording import counted
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.admin.access_report import AccessRow

Write = Callable[["AccessRow"], None]
_ENDINGS: Final = (".csv", ".xlsx", ".json")


class AccessWritten(TypedDict):
    """What was written: rows, and by target how many accounts there are of each sort."""

    file: str
    rows: int
    targets: dict[str, dict[str, int]]


def access(
    target: Targets = None,
    out_file: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="A .csv, .xlsx or .json file; else CSV is printed.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Say who has what, since when, by which rule, and when that was last confirmed."""
    if out_file is not None and Path(out_file).suffix.lower() not in _ENDINGS:
        raise UsageError(f"--out: {out_file!r} must end in {', '.join(_ENDINGS)}.", remedy="It says what is written.")
    settings = settings_and_logs()
    if out_file is None:
        with (_json if as_json else _csv)(cast("BinaryIO", sys.stdout.buffer)) as write:
            asyncio.run(_written(settings, target, write))
        return 0
    counts: Counter[tuple[str, str]] = Counter()
    with whole_file(out_file, "--out") as file, _WRITERS[Path(out_file).suffix.lower()](file) as write:
        asyncio.run(_written(settings, target, write, counts))
    summary: AccessWritten = {"file": out_file, "rows": counts.total(), "targets": {}}
    for (name, sort), count in sorted(counts.items()):
        summary["targets"].setdefault(name, {})[sort] = count
    if as_json:
        print_json(summary)
    else:
        sys.stdout.write(f"{counted(counts.total(), 'account')} written to {out_file}\n")
        for name, sorts in summary["targets"].items():
            sys.stdout.write(f"{name}: {', '.join(f'{count} {sort}' for sort, count in sorts.items())}\n")
    return 0


async def _written(
    settings: Settings, targets: Sequence[str] | None, write: Write, counts: Counter[tuple[str, str]] | None = None
) -> None:
    from provisioner.admin.access_report import access as rows_of
    from provisioner.runtime.audit import record
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=LONG_COMMAND) as dep:
        chosen = dep.chosen(targets)
        total = 0
        batches: AsyncIterator[list[AccessRow]] = rows_of(dep, chosen)
        async for batch in batches:
            for row in batch:
                write(row)
                if counts is not None:
                    counts[row["target"], row["access"]] += 1
            total += len(batch)
        await record(dep.audit, who(), "access reported", facts={"targets": list(chosen), "rows": total})


@contextmanager
def _csv(file: BinaryIO) -> Iterator[Write]:
    from provisioner.admin.access_report import COLUMNS, cells
    from provisioner.progress.tables import plain_cell

    text = _Text(file)
    writer = csv.writer(cast("TextIO", text))
    writer.writerow(COLUMNS)
    yield lambda row: writer.writerow([plain_cell(one) for one in cells(row)])
    file.flush()


@contextmanager
def _json(file: BinaryIO) -> Iterator[Write]:
    first = True

    def write(row: AccessRow) -> None:
        nonlocal first
        file.write(f"{'' if first else ','}\n{json.dumps(row)}".encode())
        first = False

    file.write(b'{"access": [')
    yield write
    file.write(b"\n]}\n")
    file.flush()


@contextmanager
def _xlsx(file: BinaryIO) -> Iterator[Write]:
    from provisioner.admin.access_report import COLUMNS, cells
    from provisioner.progress.tables import WorkbookStream

    with WorkbookStream(file, COLUMNS) as book:
        yield lambda row: book.write(cells(row))


class _Text:
    """What the writer of CSV writes to: UTF-8 in a file of bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode(errors="replace"))


_WRITERS: Final = {".csv": _csv, ".xlsx": _xlsx, ".json": _json}
