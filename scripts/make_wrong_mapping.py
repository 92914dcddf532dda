"""Runs the commands of docs/wrong-mapping.md against a deployment of its own, and writes what they print beneath them.

::

    python scripts/make_wrong_mapping.py            write the page
    python scripts/make_wrong_mapping.py --check    exit with 1 if it is not current

The page is the script: each line of a block that begins with ``$`` is typed as it stands, and the comments between the
blocks say what happens besides (`_Story`). Redis, worker, beat and the vendors' sandbox are real, and so is what they
answer. Moments, run ids, digests, spans and habitate's ids of members are replaced, by those of a day on which all this
could have happened; lines of progress are left out.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from provisioner.cli.demo_machine import free_ports
from provisioner.errors import WorkerError
from provisioner.example import SETTINGS, content
from provisioner.sandbox import Switchboard
from provisioner.settings import load
from provisioner.worker.wakeups import workers

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "wrong-mapping.md"
KINDS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
#: The day of the story, and how wide the terminal is.
DAY: Final = datetime(2026, 3, 2, tzinfo=UTC)
WIDTH: Final = 118
#: Seconds that a process may take to start, and a command to end.
_START, _COMMAND = 60.0, 120.0

#: The company: key, first, last and preferred name, job, department.
_PEOPLE: Final = (
    ("P01", "Margaret", "Lind", "Greta", "Support Manager", "Support"),
    ("P02", "Kofi", "Mensah", "", "Engineer", "Engineering"),
    ("P03", "Beatrice", "Okafor", "Bea", "Analyst", "Finance"),
    ("P04", "Hana", "Sato", "", "Consultant", "Sales"),
    ("P05", "Jun", "Tanaka", "", "Engineer", "Engineering"),
    ("P06", "Aleksander", "Nowak", "Olek", "Account Manager", "Sales"),
    ("P07", "Ines", "García", "", "Analyst", "Finance"),
    ("P08", "Elif", "Kaya", "", "Engineer", "Engineering"),
    ("P09", "Thomas", "Byrne", "Tom", "Consultant", "Support"),
    ("P10", "Fatima", "Haddad", "", "Analyst", "People"),
    ("P11", "Chloé", "Martin", "", "Engineer", "Engineering"),
    ("P12", "Grace", "Park", "", "Consultant", "Sales"),
)
#: The computed column that all four mappings take the first name from: before, at nine, and as it was meant.
_CALLED: Final = {
    "before": "first_name",
    "wrong": "COALESCE(preferred_name || ' ' || last_name, first_name)",
    "right": "COALESCE(preferred_name, first_name)",
}
_EMPLOYED: Final = {"employment_status": "active"}
_BEA: Final = {"first_name": "Beatrice", "last_name": "Okafor", "preferred_name": "Bea", "department": "Finance"}
_TESTS: Final = [
    {
        "name": "preferred",
        "row": {**_EMPLOYED, **_BEA},
        "tribal_habits": {"first_name": "Bea", "last_name": "Okafor"},
        "traitly": {"name": "Bea Okafor"},
    },
    {
        "name": "none preferred",
        "row": {**_EMPLOYED, "first_name": "Kofi", "last_name": "Mensah", "department": "Engineering"},
        "tribal_habits": {"first_name": "Kofi"},
        "traitly": {"name": "Kofi Mensah"},
    },
]

_RUN: Final = re.compile(r"\b20\d{6}-\d{6}-[0-9a-f]{7}\b")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MOMENT: Final = re.compile(r"\b(20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.\d+)?(Z| GMT| BST| UTC)?")
_SPAN: Final = r"\d+[smh](?: \d+[smh])?"
_TOOK: Final = re.compile(rf"\btook {_SPAN}")
_AGO: Final = re.compile(r"\b\d+ s ago")
#: A line of `provisioner runs` from its moment on, and the head of that table.
_LISTED: Final = re.compile(rf"( GMT  ){_SPAN} +(\d+)(?= )")
_LISTED_HEAD: Final = re.compile(r"(Started +Took) +(?=Planned)")
_PROGRESS: Final = re.compile(rf"^(?:{'|'.join(KINDS)}): \w+(?:, \d+ of \d+ done)?$")
#: habitate numbers its members in the order in which they come.
_MEMBER: Final = re.compile(r"\b\d+\.[0-9A-Za-z]{20,}\b")
_MEMBER_WIDTH: Final = 29
_MEMBER_ROW: Final = re.compile(r"^(\w+ +P\d\d +)(\d+\.[0-9A-Za-z]{20,}) +", re.MULTILINE)
_MEMBER_HEAD: Final = re.compile(r"^(Kind +Person +)Account {15,}(?=Change)", re.MULTILINE)
_MEMBER_MORE: Final = re.compile(r"^ {44,50}(?=\S)", re.MULTILINE)
#: What began in a person's history, below its run.
_BEGUN: Final = re.compile(r"^  20\d\d-\d\d-\d\d ")


class Clock:
    """The day of the story: which moment of it is meant by a real one."""

    def __init__(self) -> None:
        #: Since when (real) it is what time (of the story).
        self._parts: list[tuple[datetime, datetime]] = []
        self._runs: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._members: dict[str, str] = {}

    def set(self, text: str) -> None:
        """It is so late from now on: ``9:00``."""
        hours, _, minutes = text.partition(":")
        self._parts.append((datetime.now(UTC), DAY + timedelta(hours=int(hours), minutes=int(minutes))))

    def _at(self, moment: datetime) -> datetime:
        there = [story for began, story in self._parts if began.replace(microsecond=0) <= moment]
        return there[-1] if there else self._parts[0][1]

    def told(self, text: str) -> str:
        """What was printed, as it would have been on that day."""
        text = _RUN.sub(lambda found: self._run(found.group()), text)
        text = _DIGEST.sub(lambda found: self._digest(found.group()), text)
        text = _MOMENT.sub(self._moment, text)
        text = _AGO.sub("1800 s ago", text)
        for day in {datetime.now(UTC).date(), self._parts[0][0].date()}:
            text = re.sub(rf"\b{day}\b", f"{DAY:%Y-%m-%d}", text)
        text = self.with_members(text)
        text = _LISTED_HEAD.sub(r"\1  ", text)
        text = _LISTED.sub(lambda found: f"{found.group(1)}1s    {found.group(2):>7}", text)
        lines = [line for line in _TOOK.sub("took 1s", text).splitlines() if not _PROGRESS.match(line)]
        return "\n".join(_in_order(lines))

    def typed(self, text: str) -> str:
        """What is typed on that day, with the ids that it has really."""
        for real, shown in (*self._runs.items(), *self._digests.items()):
            text = text.replace(shown, real)
        return text

    def _run(self, run: str) -> str:
        if run not in self._runs:
            began = self._at(datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC))
            self._runs[run] = f"{began:%Y%m%d-%H%M%S}-000000{len(self._runs) + 1:x}"
        return self._runs[run]

    def _digest(self, digest: str) -> str:
        number = str(len(self._digests) + 1).encode()
        return self._digests.setdefault(digest, f"sha256:{hashlib.sha256(number).hexdigest()}")

    def with_members(self, text: str) -> str:
        """Text with other ids of habitate's members, whose length differs, and tables to fit."""
        text = _MEMBER_ROW.sub(lambda found: f"{found[1]}{self._member(found[2]).ljust(_MEMBER_WIDTH)}  ", text)
        text = _MEMBER_HEAD.sub(lambda found: f"{found[1]}{'Account'.ljust(_MEMBER_WIDTH)}  ", text)
        text = _MEMBER_MORE.sub(" " * (16 + _MEMBER_WIDTH + 2), text)
        return _MEMBER.sub(lambda found: self._member(found.group()), text)

    def _member(self, member: str) -> str:
        number = len(self._members) + 1
        shown = f"{number}.{str(number).rjust(_MEMBER_WIDTH - 3, 'x')}"
        return member if member in self._members.values() else self._members.setdefault(member, shown)

    def _moment(self, found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found.group(1)).replace(tzinfo=UTC)
        at = self._at(moment)
        return f"{at:%Y-%m-%d}{found.group(1)[10]}{at:%H:%M:%S}{found.group(2) or ''}"


def _in_order(lines: Sequence[str]) -> Iterator[str]:
    """A person's history, with what happened in one moment of the story in the order of its text."""
    begun: list[list[str]] = []
    for line in (*lines, None):
        if line is not None and _BEGUN.match(line):
            begun.append([line])
        elif line is not None and begun and line.startswith("    "):
            begun[-1].append(line)
        else:
            for one in sorted(begun, key=lambda one: one[0].split("GMT")[-1]):
                yield from one
            begun = []
            if line is not None:
                yield line


class Story:
    """A deployment in a folder of its own, and what happens to it; each `do_…` is an action that the page names."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.clock = Clock()
        self._folder, self._stack = folder, stack
        self._sandbox, self._web = free_ports(2)
        self._board = Switchboard(f"http://127.0.0.1:{self._sandbox}")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROVISIONER_", "OTEL_"))}
        self._environment = kept | {
            "COLUMNS": str(WIDTH),
            "NO_COLOR": "1",
            "PROVISIONER_CONFIG": "provisioner.yaml",
            "PYTHONPATH": str(ROOT),
            "USER": "dana",
            "LOGNAME": "dana",
        }
        self._up: ExitStack | None = None

    def begin(self) -> None:
        """The day before: everybody has their accounts, and all is well."""
        (self._folder / "roster.csv").write_bytes(_roster())
        self._write("provisioner.yaml", "before")
        self._stack.enter_context(self._running("sandbox", "--port", str(self._sandbox)))
        _eventually(self._stands, "the sandbox does not answer")
        self.do_restart()
        self.clock.set("8:00")
        code, said = self.type("provisioner sync --wait")
        if code != 0:
            raise RuntimeError(said)
        self.clock.told(said)

    def do_clock(self, text: str) -> None:
        """It is so late by now."""
        # Redis counts in whole seconds here and there; what was before stays before
        time.sleep(1.1)
        self.clock.set(text)

    def do_settings(self, file: str, which: str, *tests: str) -> None:
        """Somebody writes a settings file with one of the three mappings, with tests or without."""
        self._write(file, which, tests=bool(tests))

    def do_restart(self) -> None:
        """The settings go live: worker, beat and web are started with them."""
        if self._up is not None:
            self._up.close()
        self._up = self._stack.enter_context(ExitStack())
        self._up.enter_context(self._running("up"))
        settings = load(self._folder / "provisioner.yaml", environ={}).settings

        def answered() -> bool:
            with suppress(WorkerError):
                return bool(workers(settings, timeout=0.5))
            return False

        _eventually(answered, "no worker answers")

    def do_by_hand(self, key: str, name: str) -> None:
        """Somebody corrects their own name in Tribal Habits' pages."""
        held = {one["user_name"]: one for one in self._board.accounts("tribal_habits")}
        self._board.seed("tribal_habits", [{**held[key], "first_name": name}])

    def type(self, line: str) -> tuple[int, str]:
        """Type a line; its exit code, and everything that it prints."""
        done = subprocess.run(  # noqa: S603 - our own commands
            [
                "/bin/bash",
                "-o",
                "pipefail",
                "-c",
                re.sub(r"\bprovisioner (?=[a-z-])", f"'{sys.executable}' -m provisioner ", line),
            ],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND,
            check=False,
        )
        return done.returncode, done.stdout.decode()

    def printed(self, line: str) -> str:
        """A line of the page with what it prints, and its exit code where that is not 0."""
        code, said = self.type(self.clock.typed(line))
        said = self.clock.told(said).replace(f":{self._sandbox}/", ":8700/").replace(str(self._folder), ".")
        shown = [one.rstrip() for one in said.strip("\n").splitlines()]
        return "\n".join((f"$ {line}", *shown, *([f"[exit code {code}]"] if code else [])))

    def _stands(self) -> bool:
        try:
            return bool(self._board.state("traitly"))
        except OSError:
            return False

    def _write(self, file: str, which: str, *, tests: bool = False) -> None:
        document = _document(self._sandbox, self._web, which)
        if tests:
            document["tests"] = _TESTS
        fresh = self._folder / "settings.new"
        fresh.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), encoding="utf-8")
        fresh.replace(self._folder / file)

    @contextmanager
    def _running(self, *words: str) -> Iterator[None]:
        log = self._folder / f"{words[0]}.log"
        with log.open("ab") as said:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "provisioner", *words],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(_START)


def _document(sandbox: int, web: int, which: str) -> dict[str, Any]:
    """The example's settings for this company, with one of the three mappings."""
    document: dict[str, Any] = yaml.safe_load(content(SETTINGS))
    document |= {
        "timezone": "Europe/London",
        "data_dir": "data",
        "schedule": {"sync": None, "full": None, "watch_roster": None},
        "web": {"port": web},
        "events": [],
        "writeback": {},
    }
    document["roster"] |= {"url": "roster.csv", "columns": {"called": _CALLED[which]}}
    for kind in KINDS:
        document["targets"][kind]["base_url"] = f"http://127.0.0.1:{sandbox}/{kind}"
        attributes = document["targets"][kind]["attributes"]
        if "first_name" in attributes:
            attributes["first_name"] = "called"
        else:
            attributes["name"] = "called || ' ' || last_name"
    return document


def _roster() -> bytes:
    head = "employee_id,first_name,last_name,preferred_name,work_email,job_title,department,location,country,language,"
    lines = [f"{head}manager_email,employment_status,start_date,end_date"]
    for number, (key, first, last, preferred, job, department) in enumerate(_PEOPLE, 1):
        manager = "person.1@example.com" if number > 1 else ""
        place = "Leeds,United Kingdom,en"
        address = f"person.{number}@example.com"
        row = f"{key},{first},{last},{preferred},{address},{job},{department},{place},{manager}"
        lines.append(f"{row},active,2024-01-08,")
    return ("\n".join(lines) + "\n").encode()


def _eventually(look: Callable[[], bool], why: str) -> None:
    ends = time.monotonic() + _START
    while not look():
        if time.monotonic() > ends:
            raise RuntimeError(why)
        time.sleep(0.1)


_PART: Final = re.compile(r"<!-- do: (?P<action>.+?) -->|^```console\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL)


def written(page: str, story: Story) -> str:
    """The page with what its commands print now."""

    def part(found: re.Match[str]) -> str:
        if found["action"]:
            name, *words = found["action"].split()
            getattr(story, f"do_{name}")(*words)
            return found.group()
        lines = [line.removeprefix("$ ") for line in found["block"].splitlines() if line.startswith("$ ")]
        return "```console\n" + "\n\n".join(story.printed(line) for line in lines) + "\n```"

    return _PART.sub(part, page)


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Write what the commands of docs/wrong-mapping.md print.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wrong-mapping-")))
        # Paths in the settings are relative, since they are printed
        stack.enter_context(chdir(folder))
        story = Story(folder, stack)
        story.begin()
        fresh = written(page, story)
    if not check:
        PAGE.write_text(fresh, encoding="utf-8")
        return 0
    if fresh == page:
        return 0
    sys.stderr.writelines(difflib.unified_diff(page.splitlines(True), fresh.splitlines(True), "page", "now"))
    print(f"{PAGE.name} is not current: run scripts/make_wrong_mapping.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
