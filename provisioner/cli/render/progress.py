"""A run while it is under way: its document read again and again, and shown on standard error."""

from __future__ import annotations

import asyncio
import sys
import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from provisioner.cli.render.output import cells, console, plain, span, table
from provisioner.cli.render.run_report import status, total
from provisioner.errors import StoreError, UsageError
from provisioner.model.run_document import RunDocument, RunPart
from provisioner.store.runs.documents import RunStore

_POLL: Final = 0.3
#: Seconds for which Redis may be away (it restarts, say) before we stop following.
_PATIENCE: Final = 60.0
#: Seconds for the look at the end.
_LAST_LOOK: Final = 1.0
#: Least seconds between two lines about one target.
_LINE_EVERY: Final = 1.0


class Progress(Protocol):
    """Shows a run's document; opened and closed around following."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, document: RunDocument) -> None:
        """Show its state now."""


def progress() -> Progress:
    """A live table on a terminal, lines elsewhere."""
    return LiveTable() if sys.stderr.isatty() else Lines()


async def follow(runs: RunStore, run: str, shown: Progress, *, ends: float) -> RunDocument:
    """Show a run until it is over, or until its time is up; its last document.

    Args:
        ends: the moment by the monotonic clock at which nobody waits any longer.

    Raises:
        UsageError: there is no such run, or no longer.
        StoreError: Redis has been away for a minute, or did not answer at the end.
    """
    answered = time.monotonic()
    while True:
        now = time.monotonic()
        # At the end one short look is due still: it tells a run that is slow from a Redis that is away
        bound = max(_LAST_LOOK, min(ends - now, answered + _PATIENCE - now))
        try:
            async with asyncio.timeout(bound):
                document = await runs.document(run)
            answered = time.monotonic()
        except (StoreError, TimeoutError) as exc:
            now = time.monotonic()
            if now >= ends or now - answered >= _PATIENCE:
                raise _away(now - answered) from exc
            await asyncio.sleep(min(_POLL, max(0.0, ends - now)))
            continue
        if document is None:
            raise UsageError(f"There is no run {run!r} any more.", remedy="See `provisioner runs`.")
        shown.show(document)
        left = ends - time.monotonic()
        if document["status"] != "running" or left <= 0:
            return document
        await asyncio.sleep(min(_POLL, left))


def _away(silent: float) -> StoreError:
    return StoreError(f"Redis has not answered for {silent:.0f} s.", remedy="See whether the server runs or hangs.")


class Lines:
    """A line whenever a target's figures change, at most one a second each; the last figures are never left out."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._when: dict[str, float] = {}
        self._left: dict[str, str] = {}

    def show(self, document: RunDocument) -> None:
        """Tell what changed."""
        now = time.monotonic()
        for name, target in document["targets"].items():
            line = f"{name}: {summary(target)}"
            if self._told.get(name) == line:
                self._left.pop(name, None)
            elif now - self._when.get(name, -_LINE_EVERY) >= _LINE_EVERY:
                self._tell(name, line)
            else:
                self._left[name] = line

    def _tell(self, name: str, line: str) -> None:
        sys.stderr.write(f"{plain(line)}\n")
        sys.stderr.flush()
        self._told[name], self._when[name] = line, time.monotonic()
        self._left.pop(name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, line in list(self._left.items()):
            self._tell(name, line)


class LiveTable:
    """A table that is redrawn in place, and gone afterwards."""

    def __init__(self) -> None:
        self._live = Live(console=console(stderr=True), transient=True, refresh_per_second=4)
        self._began = time.monotonic()

    def show(self, document: RunDocument) -> None:
        """Redraw it."""
        made = table("Target", "Status", "Done", "Of", "Failed", "Held", "Waiting", numbers=_NUMBERS)
        for name, target in document["targets"].items():
            figures = [total(target, figure) for figure in ("succeeded", "planned", "failed", "held", "waiting")]
            made.add_row(*cells(name, status(target["status"]), *figures))
        head = Text(
            f"Run {document['run']}, {span(time.monotonic() - self._began)}. Ctrl-C stops looking, not the run."
        )
        waits = [Text(plain(f"{name}: {why}")) for name, part in document["targets"].items() for why in _why(part)]
        self._live.update(Group(head, made, *waits))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


_NUMBERS: Final = ("Done", "Of", "Failed", "Held", "Waiting")


def summary(target: RunPart) -> str:
    """A target's part in one line: its status, what of it is done, and what it waits for before it is planned."""
    parts = [str(target["status"])]
    planned = total(target, "planned")
    if planned:
        parts.append(f"{total(target, 'succeeded')} of {planned} done")
    parts += [f"{count} {name}" for name in ("failed", "held", "waiting") if (count := total(target, name))]
    return ". ".join([", ".join(parts), *_why(target)])


def _why(target: RunPart) -> list[str]:
    """What a part that is not planned yet waits for."""
    return target.get("notes", []) if target["status"] == "running" and not total(target, "planned") else []
