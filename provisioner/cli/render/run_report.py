"""Runs, plans and operations as an operator reads them: what happened, to whom, and what to type next.

Takes the JSON documents of runs and operations; no I/O here but the printing.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from provisioner.cli.render.output import cells, local, plain, span, table
from provisioner.model.run_document import KINDS, OUTCOMES, UNDONE
from provisioner.model.wording import counted

#: Operations that are listed for one target, unless all are asked for.
SHOWN: Final = 50
_SHOWN_ROWS: Final = 10
#: The lists of a plan that name people, and the word for one entry.
_LISTS: Final = {"conflicts": "conflict", "todos": "to-do", "drift": "drift"}
_STYLES: Final = {
    "succeeded": "green",
    "running": "cyan",
    "held": "yellow",
    "paused": "yellow",
    "waiting": "yellow",
    "failed": "bold red",
    "rejected": "bold red",
    "quarantined": "bold red",
    "unreachable": "bold red",
}
_ACCOUNTS: Final = ("observed", "linked", "adopted", "unchanged", "orphans", "conflicts", "todo")

#: Why something was not done as predicted, in words that a number can precede.
_BECAUSE: Final = {
    "pending": "not sent yet",
    "sending": "being sent",
    "waiting": "waiting to be tried again",
    "held": "held until approved",
    "overtaken": "overtaken by something newer about the person, and planned again after it",
    "older_roster": "decided by a roster that was read later",
    "no_longer_leaving": "not leaving any more by a newer roster",
    "newer_plan": "replaced by a newer plan",
    "approved": "held at first, and approved",
}

Document = Mapping[str, Any]


def heading(out: Console, document: Document, zone: ZoneInfo) -> None:
    """Which run, when, and how it ended."""
    line = Text()
    if document.get("run"):
        line.append(f"Run {plain(document['run'])} ", "bold")
        line.append(f"({plain(document.get('trigger', ''))}) ")
    else:
        line.append("Plan ", "bold")
    line.append(status(document.get("status")))
    out.print(line)
    started, finished = document.get("started_at"), document.get("finished_at")
    if started:
        took = f", took {span(_seconds(started, finished))}" if finished else ""
        out.print(f"Started {local(started, zone)}{took}")
    error = document.get("error")
    if error:
        out.print(Text(plain(error.get("message", "")), "bold red"))


def roster(out: Console, document: Document, rejects: Sequence[Document] = ()) -> None:
    """How many people the roster has, which rows are not believed, and why it is degraded."""
    read = document.get("roster")
    if not read:
        return
    line = f"Roster: {_of(read, 'rows')} rows, {_of(read, 'people')} people, {_of(read, 'rejected')} rejected"
    digest = read.get("digest")
    out.print(Text(plain(f"{line}  {digest}" if digest else line)))
    source = read.get("source")
    if source:
        out.print(Text(plain(f"Read from {source['name']}.")))
    for row in rejects[:_SHOWN_ROWS]:
        out.print(Text(f"  {plain(_reject(row))}", "yellow"))
    if len(rejects) > _SHOWN_ROWS:
        out.print(f"  and {len(rejects) - _SHOWN_ROWS} more rejected rows; --json has all")
    for note in read.get("notes") or ():
        out.print(Text(plain(note), "yellow"), soft_wrap=True)
    for advice in read.get("advice") or ():
        out.print(Text(plain(advice), "bold yellow"), soft_wrap=True)
    if read.get("not_accepted"):
        out.print(Text(plain(read["not_accepted"]), "bold yellow"), soft_wrap=True)
    for reason in read.get("degraded") or ():
        out.print(Text(f"Degraded: {plain(reason)}", "bold yellow"), soft_wrap=True)


def figures(out: Console, document: Document) -> None:
    """Per target: what was planned and became of it, and the state of the accounts."""
    targets: Mapping[str, Document] = document.get("targets") or {}
    if not targets:
        return
    outcomes = [name for name in OUTCOMES if any(total(target, name) for target in targets.values())]
    planned = table("Target", "Status", *KINDS, *outcomes, numbers=(*KINDS, *outcomes))
    accounts = table("Target", *_ACCOUNTS, "requests", numbers=(*_ACCOUNTS, "requests"))
    for name, target in targets.items():
        kinds = [(target.get("planned") or {}).get(kind) or "·" for kind in KINDS]
        ends = [_figure(total(target, outcome), outcome) for outcome in outcomes]
        planned.add_row(*cells(name, status(target.get("status")), *kinds, *ends))
        accounts.add_row(*cells(name, *(_of(target, figure) for figure in _ACCOUNTS), _of(target, "requests")))
    out.print()
    out.print(planned)
    out.print()
    out.print(accounts)


def accuracy(out: Console, document: Document) -> None:
    """Per target whether the run did what its plan had said, and if not, why."""
    lines = []
    for name, target in (document.get("targets") or {}).items():
        predicted, actual = target.get("predicted"), target.get("actual")
        if not predicted or not actual:
            continue
        said, done = sum(predicted["operations"].values()), sum(actual["operations"].values())
        sentence = f"{name}: {said} operations predicted, {done} done; "
        sentence += f"at least {predicted['requests']} requests predicted, {actual['requests']} sent"
        lines.append(Text(plain(sentence)))
        lines += [Text(f"  {plain(_difference(one))}", "yellow") for one in target.get("differences") or ()]
    if lines:
        out.print()
        for line in lines:
            out.print(line)


def plan(out: Console, document: Document, zone: ZoneInfo, *, again: str) -> None:
    """A plan for people to read; `again` is the command that does it, empty for none."""
    heading(out, document, zone)
    roster(out, document, document.get("rejects") or ())
    figures(out, document)
    rows = document.get("operations") or ()
    held = any(total(target, "held") for target in (document.get("targets") or {}).values())
    operations(out, rows, outcome=held)
    remarks(out, document)
    causes(out, [row for row in rows if row["status"] in UNDONE])
    if again:
        next_steps(out, document, again=again)


def left_out(out: Console, document: Document, why: str = "Left out, because") -> None:
    """What a run was asked to send and does not, by reason, each with its people."""
    rows = document.get("left_out") or ()
    if not rows:
        return
    people: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        people.setdefault((row["target"], row["kind"], row["reason"]), []).append(row["person"])
    made = table("Target", "Kind", "Count", why, "People", numbers=("Count",))
    for (target, kind, reason), named in people.items():
        shown = ", ".join(named[:_SHOWN_ROWS]) + (", …; --json has all" if len(named) > _SHOWN_ROWS else "")
        made.add_row(*cells(target, kind, len(named), reason, shown))
    out.print()
    out.print(made)


def _difference(one: Document) -> str:
    because = ", ".join(f"{count} {_BECAUSE.get(why, why)}" for why, count in one["because"].items())
    return f"{one['kind']}: {one['predicted']} predicted, {one['actual']} done: {because}"


def remarks(out: Console, document: Document) -> None:
    """What each target's part has to say: its error, the guards that hold, notes, and the lists for a person."""
    lines = []
    for name, target in (document.get("targets") or {}).items():
        error = target.get("error")
        if error:
            lines.append(Text(f"{name}: {plain(_sentence(error))}", "bold red"))
        lines += [Text(f"{name}: {plain(_sentence(one))}", "yellow") for one in _listed(target.get("guards"))]
        lines += [Text(f"{name}: {plain(_sentence(one))}") for one in _listed(target.get("notes"))]
        if left := target.get("leavers_left"):
            sentence = f"{left} who left keep their account, and nothing is planned for it."
            lines.append(Text(f"{name}: {sentence} `provisioner todos` says why.", "yellow"))
        lists = target.get("lists") or {}
        for list_name, word in _LISTS.items():
            rows = lists.get(list_name) or ()
            lines += [
                Text(f"{name}: {word} {plain(row['person'])}: {plain(row['message'])}") for row in rows[:_SHOWN_ROWS]
            ]
            if len(rows) > _SHOWN_ROWS:
                lines.append(Text(f"{name}: and {len(rows) - _SHOWN_ROWS} more; --json has all"))
    if lines:
        out.print()
        for line in lines:
            out.print(line)


def operations(out: Console, rows: Sequence[Document], *, limit: int | None = SHOWN, outcome: bool = True) -> None:
    """Operations, target by target; `outcome` shows their statuses, which in a plan say nothing but `held`."""
    by_target: dict[str, list[Document]] = {}
    for row in rows:
        by_target.setdefault(str(row["target"]), []).append(row)
    for target, listed in by_target.items():
        shown = listed if limit is None else listed[:limit]
        made = table("Kind", "Person", "Account", "Change", *(("Status",) if outcome else ()), "Why")
        for row in shown:
            mark = [status(row.get("status"))] if outcome else []
            made.add_row(*cells(row["kind"], row["person"], row.get("account") or "", change(row), *mark, _why(row)))
        out.print()
        out.print(Text(f"{target}: {counted(len(listed), 'operation')}", "bold"))
        out.print(made)
        if len(shown) < len(listed):
            out.print(f"and {len(listed) - len(shown)} more; --json has all")


def causes(out: Console, undone: Iterable[Document]) -> None:
    """Failed, held and waiting operations by cause, each with its count and one person to look at."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    examples: dict[tuple[str, str, str, str], str] = {}
    for row in undone:
        error = row.get("error") or {}
        cause = (str(row["target"]), str(row["status"]), str(error.get("code", "")), str(error.get("message", "")))
        counts[cause] += 1
        examples.setdefault(cause, str(row["person"]))
    if not counts:
        return
    made = table("Target", "Status", "Count", "Cause", "For example", numbers=("Count",))
    for cause, count in counts.most_common():
        target, state, code, message = cause
        said = f"{code}: {message}" if code not in ("", state) else message
        made.add_row(*cells(target, status(state), count, said, examples[cause]))
    out.print()
    out.print(made)


def next_steps(out: Console, document: Document, *, again: str = "provisioner sync") -> None:
    """What to type next, the most urgent first. `again` is the command that would do what was planned."""
    steps = _steps(document, again)
    if steps:
        out.print()
        for step, command in steps:
            out.print(Text.assemble(f"{step}: ", (plain(command), "bold")), soft_wrap=True)


def _steps(document: Document, again: str) -> list[tuple[str, str]]:
    run, targets = document.get("run"), document.get("targets") or {}
    steps: list[tuple[str, str]] = []
    for name, target in targets.items():
        state = target.get("status")
        if state in ("quarantined", "unreachable"):
            steps.append((f"{name} is {state}; find out why", "provisioner check --connect"))
            steps.append(("then", f"provisioner resume {name}"))
        if state == "paused":
            steps.append((f"{name} is paused; go on writing to it", f"provisioner resume {name}"))
    read = document.get("roster") or {}
    if read.get("degraded") and not read.get("accepted") and read.get("digest"):
        steps.append(("If this roster is right all the same", f"{again} --accept {read['digest']}"))
    if run and any(total(target, "failed") for target in targets.values()):
        steps.append(("Look at what failed", f"provisioner show {run} --failed"))
        steps.append(("Once the cause is fixed", f"provisioner retry {run}"))
    held = [name for name, target in targets.items() if total(target, "held")]
    if run and held:
        steps.append(("Look at what is held", f"provisioner show {run} --operations"))
        steps += [(f"{name}: let it go out", f"provisioner approve {run} --target {name} --all") for name in held]
    if run and document.get("status") == "running":
        steps.append(("It goes on; look again", f"provisioner show {run}"))
    if not run and any(sum((target.get("planned") or {}).values()) for target in targets.values()):
        steps.append(("Do it", again))
    return steps


def history(out: Console, documents: Iterable[Document], zone: ZoneInfo) -> None:
    """Runs in the given order, one a line."""
    numbers = ("Planned", "Succeeded", "Failed", "Held")
    made = table("Run", "Trigger", "Status", "Started", "Took", *numbers, numbers=numbers, whole=("Run",))
    for document in documents:
        targets = (document.get("targets") or {}).values()
        sums = [sum(total(target, name.lower()) for target in targets) for name in numbers]
        started, finished = document.get("started_at"), document.get("finished_at")
        took = span(_seconds(started, finished)) if started and finished else ""
        made.add_row(
            *cells(document["run"], document["trigger"], status(document["status"]), local(started, zone), took, *sums)
        )
    out.print(made)


def status(name: object) -> Text:
    """A status in its colour."""
    return Text(plain(name), _STYLES.get(str(name), ""))


def total(target: Document, figure: str) -> int:
    """The sum over all kinds of one figure of a target."""
    return sum((target.get(figure) or {}).values())


def change(row: Document) -> str:
    """What an operation changes: ``attribute: before → after``."""
    before, after = row.get("before") or {}, row.get("after") or {}
    parts = []
    for name in dict.fromkeys((*after, *before)):
        old, new = _value(before.get(name)), _value(after.get(name))
        parts.append(
            f"{name}: {new}" if row.get("kind") == "create" or name not in before else f"{name}: {old} → {new}"
        )
    return ", ".join(parts)


def command_line(command: str, options: Iterable[tuple[str, str]]) -> str:
    """A command that can be typed as it is shown."""
    return " ".join([f"provisioner {command}", *(f"{name} {shlex.quote(value)}" for name, value in options)])


def _why(row: Document) -> str:
    error = row.get("error")
    # What holds an operation holds hundreds more: `causes` tells it once
    failure = _sentence(error) if error and row.get("status") != "held" else ""
    said = [str(row.get("reason") or ""), "drift" if row.get("drift") else "", failure, str(row.get("note") or "")]
    return "; ".join(part for part in said if part)


def _value(value: Any) -> str:
    if value is None or value == "":
        return "(empty)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sentence(said: Any) -> str:
    """A remark's text: it is one, or it has one under `message` or `sentence`."""
    if isinstance(said, Mapping):
        return str(said.get("message") or said.get("sentence") or "")
    return str(said)


def _reject(row: Document) -> str:
    who = f" ({row['key']})" if row.get("key") else ""
    column = f" {row['column']}:" if row.get("column") else ""
    return f"line {row.get('line', '?')}{who}:{column} {row.get('reason', '')}"


def _listed(said: Any) -> Sequence[Any]:
    if not said:
        return ()
    return said if isinstance(said, (list, tuple)) else [said]


def _figure(count: int, outcome: str) -> Text:
    return Text(str(count), _STYLES.get(outcome, "")) if count else Text("·")


def _of(document: Document, figure: str) -> int:
    return int(document.get(figure) or 0)


def _seconds(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
