"""`demo`: everything on a machine that has nothing, explained step by step, and checked at the vendors' side.

Each step is the real command in a process of its own, in an environment that holds no settings but the demo's.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rich.text import Text

from provisioner import logs
from provisioner.cli import demo_roundtrip
from provisioner.cli.demo_machine import deaf, free_ports, interrupted_by_signals, without_socket_folder
from provisioner.cli.render import run_report
from provisioner.cli.render.output import cells, console, table
from provisioner.cli.supervisor import Children
from provisioner.errors import ProvisionerError
from provisioner.example import DAY_TWO, ROSTER, SETTINGS, content, existing_accounts
from provisioner.example.verify import active_accounts, believed, employed, faults, rows
from provisioner.sandbox import Switchboard
from provisioner.settings import load
from provisioner.store.redis.embedded import EmbeddedRedis
from provisioner.store.redis.tied import tied_to_us
from provisioner.worker.wakeups import workers

#: The vendors of the example, in the order in which they are shown.
KINDS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
#: Who comes back on the second day.
_PERSON: Final = "W10136"
#: These publish no limit, and need a request or more for each person.
_RAISED: Final = ("habitate", "traitly")
_RAISED_TO: Final = 6000
_START_SECONDS: Final = 30.0
_START_REMEDY: Final = "Fix what it says above; if it says nothing, try again when this machine has less to do."
_RIGHT: Final = (
    "Right: each vendor holds exactly what the roster asks for, on both days, and what Tribal Habits reported reached "
    "Traitly, mtribes and HR."
)
#: Where HR gets its table back, within the demo's folder.
_TABLE: Final = "writeback.csv"
_POLL_SECONDS: Final = 0.05


def run(keep: bool) -> int:
    """Show everything; with `keep` leave it running until interrupted.

    Returns:
        0 if each vendor holds exactly what the roster asks for, on both days, and what one of them reported came back
        to HR, else 1.

    Raises:
        ProvisionerError: a process did not start, or a command failed.
        KeyboardInterrupt: interrupted or asked to end; nothing is left behind.
    """
    logs.configure("warning", json=not sys.stderr.isatty())
    with ExitStack() as stack:
        stack.enter_context(interrupted_by_signals())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="provisioner-demo-")))
        demo = _Demo(folder)
        stack.enter_context(demo.processes())
        right = demo.show()
        if keep:
            demo.wait()
    return 0 if right else 1


class _Demo:
    """One demo: its folder, the environment of its processes, and what it saw."""

    def __init__(self, folder: Path) -> None:
        sandbox, web = free_ports(2)
        self._folder = folder
        self._sandbox_port = sandbox
        self._switchboard = Switchboard(f"http://127.0.0.1:{sandbox}")
        self._page = f"http://127.0.0.1:{web}/"
        self._children: Children | None = None
        secret = secrets.token_urlsafe(24)
        self._webhook = f"{self._page}webhooks/tribal_habits/{secret}"
        self._out = console()
        self._laps: list[tuple[str, float]] = []
        own = {
            "CONFIG": str(folder / SETTINGS),
            "DATA_DIR": str(folder / "data"),
            "ROSTER__URL": str(folder / ROSTER),
            "WEB__PORT": str(web),
            "WRITEBACK__URL": str(folder / _TABLE),
            "TARGETS__TRIBAL_HABITS__WEBHOOK_SECRET": secret,
            # Runs begin only when the demo says so
            **{f"SCHEDULE__{name}": "null" for name in ("SYNC", "FULL", "WATCH_ROSTER")},
            **{f"TARGETS__{kind.upper()}__BASE_URL": f"{self._switchboard.url}/{kind}" for kind in KINDS},
            **{f"TARGETS__{kind.upper()}__RATE_LIMIT": f"{_RAISED_TO}/minute" for kind in _RAISED},
        }
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROVISIONER_")}
        self._settings = {f"PROVISIONER_{name}": value for name, value in own.items()}
        self._environment = kept | self._settings

    @contextmanager
    def processes(self) -> Iterator[None]:
        """Redis, the sandbox with a few accounts in it, worker, beat and web; all are gone afterwards."""
        with ExitStack() as started:
            with self._step("Everything starts on this machine"):
                self._write(SETTINGS, SETTINGS)
                self._write(ROSTER, ROSTER)
                redis = EmbeddedRedis(self._folder / "data", append_only=False)
                started.callback(without_socket_folder, redis)
                started.enter_context(redis)
                children = self._children = started.enter_context(Children(self._environment, quiet=True))
                # Whatever ends the demo, a second Ctrl-C does not keep it from ending what it started
                started.callback(deaf)
                children.start("sandbox", "sandbox", "--port", str(self._sandbox_port))
                for name in ("worker", "beat", "web"):
                    children.start(name)
                self._until("the sandbox", "sandbox", self._sandbox_serves)
                self._seed()
                self._until("the worker", "worker", self._worker_answers)
                self._until("the web server", "web", self._web_serves)
                self._say(
                    "Redis, a sandbox that stands in for the four vendors, a worker, beat and the web server run now. "
                    "Some people have accounts already, and one account in Tribal Habits is nobody's.",
                    "Tribal Habits publishes a limit of 300 requests a minute, which is kept. habitate and Traitly "
                    "publish none and need a request or more a person: to be done soon, theirs is raised from 120 to "
                    f"{_RAISED_TO} a minute, in the sandbox and in the settings.",
                )
            yield

    def show(self) -> bool:
        """All steps; whether each vendor holds what the roster asks for in the end, and the last sync wrote nothing."""
        with self._step("Day one: what would a sync do?"):
            self._say(
                f"The roster has {len(rows(ROSTER))} people, of whom 2 have left. A plan changes nothing. It also "
                "lists every operation; that is left out here."
            )
            plan = self._json("plan")
            run_report.roster(self._out, plan, plan.get("rejects") or ())
            run_report.figures(self._out, plan)
            run_report.remarks(self._out, plan)
        with self._step("Day one: sync"):
            self._command("sync", "--wait")
        wrong = self._check(ROSTER)
        with self._step("Day two: a new roster, and what it would change"):
            self._write(ROSTER, DAY_TWO)
            self._say(
                "The export was rewritten: 4 people join, 5 change department, manager, name, place or role, "
                "3 leave, 1 comes back, and 1 row is bad. Whoever's row is bad stays as they are."
            )
            self._command("plan")
        with self._step("Day two: sync"):
            self._command("sync", "--wait")
        wrong += self._check(DAY_TWO)
        with self._step("One person's story"):
            self._story()
        with self._step("The same roster again"):
            before = self._writes()
            self._command("sync", "--wait")
            sent = self._writes() - before
            self._say(f"Nothing had changed; requests that write, as the vendors counted them: {sent}.")
            if sent:
                wrong.append(f"the last sync sent {sent} requests that write, although nothing had changed.")
        with self._step("The other direction: a course is completed"):
            row = next(row for row in rows(DAY_TWO) if row["employee_id"] == _PERSON)
            wrong += demo_roundtrip.Circle(self._switchboard, self._webhook, self._folder / _TABLE, row).show(self._out)
        self._summary(wrong)
        return not wrong

    def wait(self) -> None:
        """Leave everything running until interrupted."""
        file = self._folder / "environment"
        file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in self._settings.items()))
        with suppress(KeyboardInterrupt):
            self._say(
                f"The web server: {self._page} (health under healthz and readyz)",
                f"The vendors: {self._switchboard.url}/<kind>",
                f"For commands of your own, in another terminal: . {shlex.quote(str(file))}",
                "All of it ends, and is removed, with Ctrl-C.",
            )
            while True:
                signal.pause()

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        self._out.print()
        self._out.rule(Text(f"{len(self._laps) + 1}. {title}", "bold"), align="left")
        yield
        self._laps.append((title, time.monotonic() - began))

    def _say(self, *sentences: str) -> None:
        for sentence in sentences:
            self._out.print(Text(sentence))
        sys.stdout.flush()

    def _command(self, *arguments: str) -> None:
        """Run one command as it would be typed, its output shown.

        Raises:
            ProvisionerError: its exit code is not 0.
        """
        self._typed(*arguments)
        self._ended(self._run(arguments), arguments)

    def _json(self, *arguments: str) -> dict[str, Any]:
        """Run one command with ``--json``, and return what it answers.

        Raises:
            ProvisionerError: its exit code is not 0.
        """
        self._typed(*arguments)
        return self._quietly(*arguments)

    def _quietly(self, *arguments: str) -> dict[str, Any]:
        ended = self._run((*arguments, "--json"), stdout=subprocess.PIPE)
        self._ended(ended, arguments)
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    def _typed(self, *arguments: str) -> None:
        self._out.print(Text(f"$ provisioner {shlex.join(arguments)}", "bold cyan"))
        sys.stdout.flush()

    def _run(self, arguments: Sequence[str], stdout: int | None = None) -> subprocess.CompletedProcess[bytes]:
        # An interruption between its start and our knowing of it would leave it behind
        return subprocess.run(  # noqa: S603 - our own command
            tied_to_us([sys.executable, "-m", "provisioner", *arguments]),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            check=False,
        )

    def _ended(self, ended: subprocess.CompletedProcess[bytes], arguments: Sequence[str]) -> None:
        if ended.returncode:
            if ended.stdout:
                # With --json the error is in the answer
                self._say(ended.stdout.decode(errors="replace").strip())
            raise ProvisionerError(
                f"`provisioner {shlex.join(arguments)}` ended with exit code {ended.returncode}, not 0.",
                remedy="What it printed says why.",
            )

    def _write(self, name: str, source: str) -> None:
        # Renamed into place, as an export should be, so that nobody reads half of it
        fresh = self._folder / f"{name}.new"
        fresh.write_bytes(content(source))
        fresh.replace(self._folder / name)

    def _until(self, who: str, child: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            code, lines = self._children.last_words(child) if self._children else (None, ())
            if code is None and time.monotonic() <= deadline:
                time.sleep(_POLL_SECONDS)
                continue
            how = f"did not start within {_START_SECONDS:.0f} s" if code is None else f"ended with exit code {code}"
            said = "\n".join(("Its last lines:", *lines, "")) if lines else "It said nothing. "
            raise ProvisionerError(f"{who} {how}. {said}".rstrip(" "), remedy=_START_REMEDY)

    def _sandbox_serves(self) -> bool:
        try:
            self._switchboard.counts(KINDS[0])
        except OSError:
            return False
        return True

    def _worker_answers(self) -> bool:
        return bool(workers(load(environ=self._settings).settings, timeout=1.0))

    def _web_serves(self) -> bool:
        address = urlsplit(self._page)
        try:
            socket.create_connection((address.hostname or "", address.port or 0), timeout=1.0).close()
        except OSError:
            return False
        return True

    def _seed(self) -> None:
        for kind in _RAISED:
            self._switchboard.options(kind, rate_limit=_RAISED_TO)
        for kind, accounts in existing_accounts().items():
            self._switchboard.seed(kind, accounts)

    def _states(self) -> dict[str, dict[str, Any]]:
        return {kind: self._switchboard.state(kind) for kind in KINDS}

    def _writes(self) -> int:
        return sum(int(self._switchboard.counts(kind)["writes"]) for kind in KINDS)

    def _check(self, name: str) -> list[str]:
        """Compare what the vendors hold with the roster, and say so; what is wrong."""
        states = self._states()
        wrong = faults(believed(name), states)
        counts = ", ".join(f"{kind} {active_accounts(kind, states[kind])}" for kind in KINDS)
        here = sum(map(employed, believed(name)))
        self._out.print()
        self._say(f"{here} people work here. Active accounts that the vendors hold now: {counts}.")
        self._say("(Contractors have none in Tribal Habits and habitate; in Tribal Habits one is nobody's.)")
        refused = sum(int(self._switchboard.counts(kind)["answers_429"]) for kind in KINDS)
        if refused:
            wrong.append(f"the vendors refused {refused} requests as too many.")
        return wrong

    def _story(self) -> None:
        """Roster row, accounts and operations of one person, over both days."""
        first, second = (next(row for row in rows(name) if row["employee_id"] == _PERSON) for name in (ROSTER, DAY_TWO))
        self._say(f"{second['first_name']} {second['last_name']} ({_PERSON}) had left, and is back on day two.")
        changed = table("Roster", "Day one", "Day two")
        for column in second:
            if first[column] != second[column]:
                changed.add_row(*cells(column, first[column] or "(empty)", second[column] or "(empty)"))
        self._out.print()
        self._out.print(changed)
        outcomes = table("Day", "Target", "Operation", "Change", "Outcome")
        runs = reversed(self._quietly("runs")["runs"])
        for day, run in enumerate(runs, start=1):
            listed = self._quietly("show", run["run"], "--operations")["operations"]
            for row in (row for row in listed if row["person"] == _PERSON):
                outcomes.add_row(*cells(day, row["target"], row["kind"], run_report.change(row), row["status"]))
        self._out.print()
        self._out.print(outcomes)
        held = table("Target", "The account now")
        for kind, account in self._accounts_of(second).items():
            held.add_row(*cells(kind, account))
        self._out.print()
        self._out.print(held)

    def _accounts_of(self, row: Mapping[str, str]) -> dict[str, str]:
        """What each vendor holds of one person, in a few words."""
        states, email = self._states(), row["work_email"]
        found: dict[str, Mapping[str, Any]] = {
            kind: next((account for account in states[kind]["accounts"] if account["email"] == email), {})
            for kind in KINDS
        }
        shown = {
            "tribal_habits": ("user_name", "active", "groups", "role_1"),
            "habitate": ("msid", "username", "role_id"),
            "traitly": ("customer_id", "plan", "custom_attributes"),
            "mtribes": ("id", "tags"),
        }
        return {
            kind: ", ".join(f"{name}: {json.dumps(found[kind].get(name), ensure_ascii=False)}" for name in names)
            for kind, names in shown.items()
        }

    def _summary(self, wrong: Sequence[str]) -> None:
        self._out.print()
        self._out.rule(Text("How it came out", "bold"), align="left")
        times = table("Step", "Seconds", numbers=("Seconds",))
        for number, (title, seconds) in enumerate(self._laps, start=1):
            times.add_row(*cells(f"{number}. {title}", f"{seconds:.1f}"))
        times.add_row(*cells("All", f"{sum(seconds for _, seconds in self._laps):.1f}"))
        self._out.print(times)
        self._out.print()
        for sentence in wrong:
            self._out.print(Text(f"Wrong: {sentence}", "bold red"))
        if not wrong:
            self._out.print(Text(_RIGHT, "green"))
        sys.stdout.flush()
