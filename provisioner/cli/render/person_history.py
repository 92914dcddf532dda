"""A person's history as an operator reads it: by run, what was wanted, each try, what was answered, and webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from provisioner.cli.render.output import cells, local, plain, table
from provisioner.cli.render.run_report import change, status

#: What is shown where nothing was said.
_ANSWERED: Final = {
    "succeeded": "acknowledged by the target",
    "pending": "not sent yet",
    "sending": "being sent",
    "rejected": "somebody said no",
    "superseded": "a newer plan took its place",
}

#: Statuses in a receipt under which the account still exists.
_UNDONE: Final = ("pending", "waiting", "held", "failed", "rejected")

Document = Mapping[str, Any]


def receipt(out: Console, found: Document | None, zone: ZoneInfo) -> None:
    """A leaver's receipt: what became of each account; nothing for who never left."""
    if found is None:
        return
    out.print()
    since = local(found["since"], zone)
    done = found["finished_at"]
    state = f"finished {local(done, zone)}" if done else "not finished: accounts below that are not done still exist"
    out.print(Text(f"Leaver, asked for since {since}, {state}", "" if done else "bold yellow"))
    rows = table("  target", "state", "since", "last change", "what was said")
    for name, part in found["targets"].items():
        times = [local(part[one], zone) if part[one] else "" for one in ("since", "at")]
        step = f"next step on {part['next']}" if part.get("next") else ""
        rows.add_row(*cells(f"  {name}", part["status"], *times, " ".join(filter(None, (part["message"], step)))))
    out.print(rows)


def rejections(out: Console, found: Sequence[Document], zone: ZoneInfo) -> None:
    """What somebody said no to, and until when that holds at most."""
    for one in found:
        because = f": {one['reason']}" if one["reason"] else ""
        line = f"{one['target']} {one['kind']} rejected by {one['by']} at {local(one['at'], zone)}{because}"
        out.print(Text(plain(f"{line}. It holds until {local(one['until'], zone)}, or until the row changes.")))


def leavers(out: Console, found: Sequence[Document], zone: ZoneInfo) -> None:
    """Leavers who still have an account that they should not have, the oldest first."""
    rows = table("Leaver", "asked for since", "not done in", "done in")
    for one in found:
        parts = one["targets"].items()
        open_ = [f"{name} ({part['status']})" for name, part in parts if part["status"] in _UNDONE]
        done = [name for name, part in parts if part["status"] == "done"]
        rows.add_row(*cells(one["person"], local(one["since"], zone), ", ".join(open_), ", ".join(done)))
    out.print(rows)


def timeline(out: Console, story: Document, zone: ZoneInfo) -> None:
    """What happened, the newest first."""
    out.print()
    runs: dict[str, list[Document]] = {}
    for operation in story["operations"]:
        runs.setdefault(str(operation["run"]), []).append(operation)
    events: list[tuple[str, str, Any]] = [
        (max(str(one["changed_at"] or "") for one in operations), "run", run) for run, operations in runs.items()
    ]
    events += [(str(one["at"]), "webhook", one) for one in story["heard"]]
    if not events:
        out.print("No operation was ever planned, and no webhook came.")
        return
    out.print("History, the newest first; runs that had nothing to do for this person are not listed", style="bold")
    for at, what, found in sorted(events, key=lambda event: event[0], reverse=True):
        if what == "run":
            _run(out, found, story["runs"].get(found), runs[found], zone)
        else:
            own = ", reported by the vendor of what we did" if found.get("own") else ""
            out.print(Text(f"{local(at, zone)}  webhook of {plain(found['target'])}: {plain(found['event'])}{own}"))


def _run(out: Console, run: str, facts: Document | None, operations: Sequence[Document], zone: ZoneInfo) -> None:
    head = Text(f"Run {plain(run)}", "bold")
    if facts is not None:
        head.append(f"  {plain(facts['trigger'])}, started {local(facts['started_at'], zone)}, ", "not bold")
        head.append(status(facts["status"]))
    out.print(head, soft_wrap=True)
    for one in operations:
        _operation(out, one, zone)


def _operation(out: Console, one: Document, zone: ZoneInfo) -> None:
    line = Text(f"  {local(one['changed_at'], zone)}  {plain(one['target'])} {one['kind']} ")
    line.append(status(one["status"]))
    reason = one.get("reason") or ""
    line.append(f"  because: {plain(reason)}" if reason else "")
    out.print(line, soft_wrap=True)
    wanted = change(one)
    if wanted:
        _indented(out, f"wanted: {wanted}")
    for tried in one["tries"]:
        said = f"{tried.get('code')}: {tried.get('message')}"
        _indented(out, f"try {tried['attempt']} at {local(tried['at'], zone)}: {said}", "yellow")
    error = one["error"]
    if error and error["code"] == one["status"]:
        _indented(out, f"waits: {error['message']}")
        return
    answer = f"{error['code']}: {error['message']}" if error else _ANSWERED.get(one["status"], "")
    account = f", account {one['account']}" if one["status"] == "succeeded" and one["account"] else ""
    if note := one.get("note"):
        answer = f"{answer}; {note}" if answer else str(note)
    if answer:
        count = f" (try {one['attempts']})" if one["attempts"] else ""
        _indented(out, f"answer{count}: {answer}{account}")


def _indented(out: Console, line: str, style: str = "") -> None:
    out.print(Padding(Text(plain(line), style), (0, 0, 0, 4)))
