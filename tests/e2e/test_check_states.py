"""Each state that an operator may find a deployment in: what `check` prints, how it exits, and that a sync exits so.

Redis, a worker, beat, the web and the sandbox are real processes; the command writes for a terminal of eighty columns.
The lines and codes are those of the table in docs/operating.md, which has every state and no other.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from provisioner.dispatch.outcome_spool import Spool, Spooled
from provisioner.model.operation import Kind, digest
from provisioner.model.operation_record import OperationRecord
from provisioner.progress.vitals import SILENT_AFTER
from provisioner.store.queue.operations import Claim
from tests.cli.calling import call, environment, traitly, write_settings
from tests.decisions.conftest import company
from tests.e2e.printed_check import WIDTH, Printed, check, documented
from tests.e2e.site import BY_HAND, Process, Site, deployment, eventually
from tests.support.harness import raise_limits
from tests.support.ports import free_port
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

TARGET: Final = "traitly"
TOKEN: Final = "operator-token-0123456789"
PEOPLE: Final = 12
#: Somebody's proxy: the web trusts it, and nobody else.
PROXY: Final = "10.9.0.7"


@dataclass(frozen=True, slots=True)
class State:
    """`make` brings the state about; `also` are further words that are printed. `sync` is the exit code of a sync then:
    that of `check` if None, and not asked for if negative."""

    make: Callable[[Place], None]
    words: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    sync: int | None = None


STATES: dict[str, State] = {}


def state(name: str, *words: str, also: tuple[str, ...] = (), sync: int | None = None) -> Callable[[Any], Any]:
    """A function that brings about a state of the table in the docs."""

    def keep(make: Callable[[Place], None]) -> Callable[[Place], None]:
        STATES[name] = State(make, words, also, sync)
        return make

    return keep


@dataclass
class Place:
    """The deployment of this module, back to how it was at its beginning before each state."""

    site: Site
    port: int
    settings: dict[str, Any] = field(default_factory=dict)
    config: Path = Path()
    beat: Process | None = None

    def begin(self) -> None:
        site = self.site
        self.end()
        site.switchboard.reset()
        raise_limits(site.switchboard)
        site.contents.delete_ours()
        for path in (*site.folder.glob("redis-mark*"), *site.folder.glob("*.jsonl")):
            path.unlink()
        self.settings = yaml.safe_load(site.config.read_text(encoding="utf-8"))
        # Else it might look as if nobody was ever there
        eventually(site.contents.workers)
        self.config = site.config
        self.write(company(PEOPLE))

    def end(self) -> None:
        """Stop what a state has started."""
        if self.beat is not None:
            self.beat.stop()
        self.beat = None

    def call(self, *words: str, code: int = 0) -> dict[str, Any]:
        """A command of the deployment, to its end; its document."""
        answer = call(*words, "--json", PROVISIONER_CONFIG=str(self.site.config))
        assert answer.code == code, answer.out + answer.err
        return answer.document

    def write(self, text: str) -> None:
        """Put a roster in place, whole."""
        fresh = self.site.folder / "roster.new"
        fresh.write_text(text, encoding="utf-8")
        shutil.move(fresh, self.site.roster)

    def sync(self, *words: str, code: int = 0) -> dict[str, Any]:
        """A run, to its end."""
        return self.call("sync", "--wait", *words, code=code)

    def synced(self) -> None:
        """Everybody is in the target."""
        assert self.sync()["status"] == "succeeded"

    def change(self, **changes: Any) -> None:
        """Let the command, and nobody else, have other settings; dots part the levels (`targets.traitly.scope`)."""
        for path, value in changes.items():
            *levels, last = path.split("__")
            place = self.settings
            for level in levels:
                place = place[level]
            place[last] = value
        other = self.site.folder / "other.yaml"
        other.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        self.config = other

    def push(self, text: str) -> dict[str, Any]:
        """Push a roster over HTTP; its run, at its end."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/octet-stream"}
        address = f"http://127.0.0.1:{self.port}/api/roster"
        request = urllib.request.Request(address, text.encode(), headers, method="PUT")
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            run = json.loads(answer.read())["run"]
        return eventually(lambda: (found := self.call("show", run))["status"] != "running" and found)

    def check(self, *words: str) -> Printed:
        """What `check` prints."""
        return check(self.config, *words)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    port = free_port()
    web = {"port": port, "token": TOKEN, "trusted_proxies": [f"{PROXY}/32"]}
    # A short name, as paths are longer than a line else
    folder = Path(tempfile.mkdtemp(prefix="check-"))
    try:
        with deployment(folder, only=(TARGET,), schedule=BY_HAND, web=web, append_only=True) as site:
            site.server.configure(maxmemory=1024**3)
            worker = site.start_worker()
            try:
                with site.running("web"):
                    eventually(lambda: _answers(port))
                    found = Place(site, port)
                    yield found
                    found.end()
            finally:
                worker.stop()
    finally:
        shutil.rmtree(folder)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            return True
    except OSError:
        return False


def test_the_docs_have_every_state_and_no_other() -> None:
    assert list(documented()) == [*STATES, *SERVERS, *ALONE]


@pytest.mark.parametrize("name", STATES)
def test_a_deployment(place: Place, name: str) -> None:
    wanted = STATES[name]
    place.begin()
    wanted.make(place)
    printed = place.check(*wanted.words)
    as_documented(printed, name, *wanted.also)
    code = printed.code if wanted.sync is None else wanted.sync
    if code >= 0 and place.config == place.site.config:
        place.sync(code=code)


def as_documented(printed: Printed, name: str, *also: str) -> None:
    """A state's line is printed, and nothing that a terminal of eighty columns would break."""
    row, code = documented()[name]
    assert printed.has(row), printed.out
    assert printed.code == code, printed.out
    for words in also:
        assert words in " ".join(printed.out.split()), printed.out
    # Only a word that is longer than the line may go on
    assert [line for line in printed.wrapped.splitlines() if len(line) > WIDTH and " " in line.strip()] == []
    failed = [one.subject for one in printed.rows if one.verdict == "fail"]
    if failed:
        assert f"to fix before the next sync ({', '.join(dict.fromkeys(failed))})" in printed.end
        assert printed.end.endswith(f"Exit code {code}.")
        assert code
    elif code:
        assert printed.end.startswith(f"A sync would go on, and exit with {code} (")
        assert row.subject.partition(" ")[0] in printed.end
    else:
        assert printed.end.startswith("All right, ")


# Which roster is read


@state("Everything runs, and a sync has just ended.", also=("All right, 0 warnings. Next: provisioner check",), sync=-1)
def _in_step(place: Place) -> None:
    place.synced()
    place.beat = place.site.start("beat")
    eventually(lambda: {"beat", "worker"} <= set(place.site.contents.signs()), why=place.beat.said)


@state("A roster was pushed and believed.")
def _pushed(place: Place) -> None:
    place.synced()
    assert place.push(company(PEOPLE))["status"] == "succeeded"


@state("A roster was pushed and rejected.")
def _push_rejected(place: Place) -> None:
    place.synced()
    rejected = place.push("\0" * 4096)
    assert rejected["status"] == "rejected"
    assert "not kept" in rejected["error"]["message"]


@state("A roster was pushed and is degraded.", also=("It is degraded, so removals wait",))
def _push_degraded(place: Place) -> None:
    place.synced()
    assert place.push(company(PEOPLE // 2))["status"] == "held"


@state("The pushed roster was dropped by `provisioner roster --drop-push`.")
def _push_dropped(place: Place) -> None:
    _push_degraded(place)
    place.call("roster", "--drop-push")


@state("The roster is not there.")
def _no_roster(place: Place) -> None:
    place.site.roster.unlink()


@state("A key of the roster is a secret of the settings.")
def _secret(place: Place) -> None:
    secret = place.settings["targets"][TARGET]["token"]
    people = company(PEOPLE, changes={3: {"employee_id": secret}, 4: {"employee_id": secret}})
    # A column of that name is shown among those of the file
    place.write(people.replace("language", secret, 1))
    assert secret not in place.check().out
    assert secret not in str(call("check", "--json", PROVISIONER_CONFIG=str(place.config)).document)


@state("One row of many is wrong.")
def _one_row(place: Place) -> None:
    place.write(company(PEOPLE, changes={3: {"start_date": "soon"}}))


@state("The roster shrank.")
def _shrank(place: Place) -> None:
    place.synced()
    place.write(company(PEOPLE // 2))


@state("People vanished while others appeared with the same addresses.")
def _renumbered(place: Place) -> None:
    place.synced()
    place.write(company(PEOPLE, changes={3: {"employee_id": "N3"}}))


@state("Somebody leaves by a status that is new.")
def _new_status(place: Place) -> None:
    # A word for leavers is known already
    place.write(company(PEOPLE, gone=(5,)))
    place.synced()
    place.write(company(PEOPLE, gone=(5,), changes={3: {"employment_status": "on sabbatical"}}))


@state("First contact: dates are written dd.mm.yyyy.")
def _dates(place: Place) -> None:
    place.write(company(PEOPLE, changes={one: {"start_date": f"{13 + one}.02.2024"} for one in range(PEOPLE)}))


@state("First contact: several expressions are wrong.", also=("traitly.attributes.plan", "roster.exclude"))
def _expressions(place: Place) -> None:
    attributes = {"targets__traitly__attributes__location": "MAX(location)"}
    place.change(**attributes, targets__traitly__attributes__plan="CASE WHEN", roster__exclude="x (")


@state("First contact: a column's name has a dash.")
def _dash(place: Place) -> None:
    place.change(targets__traitly__attributes__email="LOWER(E-Mail)")


@state("First contact: columns are missing.")
def _columns(place: Place) -> None:
    place.change(targets__traitly__attributes__email="mail", targets__traitly__attributes__location="site")


# What earlier runs left


@state("A guard holds leavers.")
def _held(place: Place) -> None:
    place.synced()
    place.write(company(PEOPLE, gone=(1, 2)))
    place.sync(code=4)


@state("A leave was rejected.")
def _rejected(place: Place) -> None:
    _held(place)
    run = place.site.runs()[-1]["run"]
    place.call("reject", run, "--all", "--reason", "on leave until May")


@state("A leave failed.")
def _leave_failed(place: Place) -> None:
    place.synced()
    place.site.switchboard.fault(TARGET, match={"method": "POST"}, times=None, status=422, body={"message": "no"})
    place.write(company(PEOPLE, gone=(1,)))
    place.sync(code=5)
    # Else the sync that follows counts this one twice, and holds it
    place.site.contents.forget_sent(TARGET, "leavers")


@state("Operations failed.")
def _failed(place: Place) -> None:
    place.synced()
    place.site.switchboard.fault(TARGET, match={"method": "POST"}, times=None, status=422, body={"message": "no"})
    place.write(company(PEOPLE, changes={1: {"location": "Perth"}}))
    place.sync(code=5)


@state("A listing was not believed.")
def _unbelieved(place: Place) -> None:
    place.synced()
    place.site.contents.age_links(TARGET, 3600)
    for number in range(PEOPLE // 2):
        place.site.switchboard.remove(TARGET, f"W{number:04d}")
    place.sync(code=5)


@state("A target was paused, and nothing waits for it.", sync=0)
def _paused(place: Place) -> None:
    place.synced()
    place.call("pause", TARGET, "--reason", "audit of the vendor")


@state("A target was paused, and work waits for it.")
def _paused_with_work(place: Place) -> None:
    _paused(place)
    place.write(company(PEOPLE, changes={1: {"location": "Perth"}}))
    place.sync(code=4)


@state("A target is quarantined.")
def _quarantined(place: Place) -> None:
    place.synced()
    place.site.switchboard.fault(TARGET, times=None, status=401, body={"message": "no"})
    place.sync(code=5)


@state("A target cannot be reached.")
def _unreachable(place: Place) -> None:
    place.synced()
    place.site.switchboard.fault(TARGET, times=None, drop="before")
    place.sync(code=5)


@state("A vendor's answers look otherwise than before.")
def _changed_answers(place: Place) -> None:
    place.synced()
    for level in (7, "7"):
        place.site.switchboard.seed(TARGET, [{"customer_id": "W0000", "custom_attributes": {"level": level}}])
        place.sync()


@state("The vendor answered 429 at the configured rate.")
def _slower(place: Place) -> None:
    place.site.switchboard.fault(TARGET, times=2, status=429, body={"message": "slower"})
    place.synced()


@state("Outcomes wait in `data_dir` to be recorded.")
def _spooled(place: Place) -> None:
    place.synced()
    # The folder of a machine whose worker is gone
    other = place.site.folder / "gone"
    operation = OperationRecord(
        digest(("a", "b"), size=12), TARGET, "W0001", Kind.UPDATE, "W0001", {}, {"location": "Perth"}
    ).operation()
    claim = Claim(operation=operation, run="a-run", token="t", attempts=1, unclear=False, since=0.0)
    Spool(other).add(Spooled(claim, {}, "W0001"))
    place.change(data_dir=str(other))


@state("Redis refused to record outcomes.")
def _refused_outcomes(place: Place) -> None:
    place.synced()
    (place.site.folder / "refused-outcomes.jsonl").write_text("{}\n")


# The web and the vendors


@state("`web.trusted_proxies` names the whole net.")
def _wide(place: Place) -> None:
    place.change(web__trusted_proxies=["0.0.0.0/0"])


@state("A reverse proxy stands before the web that `web.trusted_proxies` does not name.")
def _proxy(place: Place) -> None:
    address = f"http://127.0.0.1:{place.port}/healthz"
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20):
        eventually(lambda: "sends headers" in place.check().out, within=30)


@state("With `--connect`: the vendor refuses the credentials.", "--connect")
def _wrong_token(place: Place) -> None:
    place.change(targets__traitly__token="wrong")


@state("With `--connect`: all targets answer.", "--connect", also=("Next: provisioner plan",))
def _connected(place: Place) -> None:
    place.synced()


# Redis, with no process of ours

SERVERS: Final[dict[str, tuple[Callable[[RedisServer], None], int]]] = {}


def server(name: str, *, sync: int | None = None) -> Callable[[Any], Any]:
    """A function that brings Redis into a state of the table in the docs."""

    def keep(make: Callable[[RedisServer], None]) -> Callable[[RedisServer], None]:
        SERVERS[name] = (make, 1 if sync is None else sync)
        return make

    return keep


@server("Nothing was started yet.")
def _nothing(server: RedisServer) -> None:
    server.configure(maxmemory=1024**3)


@server("Redis has no `maxmemory`.")
def _unbounded(server: RedisServer) -> None:
    server.configure(maxmemory=0)


@server("Redis is short of memory.")
def _short(server: RedisServer) -> None:
    server.configure(maxmemory=int(server.used_memory() * 1.05))


@server("Redis is full.")
def _full(server: RedisServer) -> None:
    server.configure(maxmemory=1)


@server("Redis may throw away what it holds.")
def _evicts(server: RedisServer) -> None:
    server.configure(maxmemory_policy="allkeys-lru")


@server("Redis writes no append-only file.")
def _forgets(server: RedisServer) -> None:
    server.configure(appendonly="no")


@server("Redis is a replica.")
def _replica(server: RedisServer) -> None:
    server.follow("127.0.0.1", 1)


@server("Redis asks for a password.")
def _password(server: RedisServer) -> None:
    server.require("a-password-that-nobody-told")


@server("Redis hangs.")
def _hangs(server: RedisServer) -> None:
    os.kill(server.pid, signal.SIGSTOP)


@server("Redis is not there.")
def _away(server: RedisServer) -> None:
    server.kill()


@pytest.mark.parametrize("name", SERVERS)
def test_redis(name: str) -> None:
    make, _ = SERVERS[name]
    with short_folder() as folder, RedisServer(append_only=True) as own:
        config = write_settings(folder, redis_url=own.url)
        make(own)
        try:
            printed = check(config)
        finally:
            own.kill()
    as_documented(printed, name)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room on a line."""
    folder = Path(tempfile.mkdtemp(prefix="check-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


# Those that need processes of their own

ALONE: Final = (
    "All workers ended.",
    "Beat ended.",
    "With `--connect`: a vendor takes connections and never answers.",
    "Redis was put back to an earlier state.",
)


def test_processes_that_ended() -> None:
    with short_folder() as folder, RedisServer(append_only=True) as own:
        own.configure(maxmemory=1024**3)
        config = write_settings(folder, redis_url=own.url)
        contents = RedisContents(own.url)
        variables = environment(PROVISIONER_CONFIG=str(config))
        started = [Process(folder, variables, *words) for words in (("worker", "--concurrency", "1"), ("beat",))]
        try:
            for process, sign in zip(started, ("worker", "beat"), strict=True):
                eventually(lambda sign=sign: sign in contents.signs(), why=process.said)  # type: ignore[misc]
                process.kill()
            contents.sign("first", 60)
            time.sleep(SILENT_AFTER + 1)
            for name in ALONE[:2]:
                as_documented(check(config), name)
        finally:
            for process in started:
                process.stop()


def test_a_vendor_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody waits for the minute here
    monkeypatch.setattr("provisioner.admin.preflight.targets.LONGEST", 1.0)
    with short_folder() as folder, RedisServer(append_only=True) as own, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(20)
        own.configure(maxmemory=1024**3)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/traitly"
        printed = check(write_settings(folder, redis_url=own.url, targets={TARGET: traitly(address)}), "--connect")
    as_documented(printed, ALONE[2])


def test_a_redis_that_was_put_back() -> None:
    with (
        short_folder() as folder,
        deployment(folder, only=(TARGET,), schedule=BY_HAND, append_only=True) as site,
    ):
        site.server.configure(maxmemory=1024**3)
        raise_limits(site.switchboard)
        site.roster.write_text(company(PEOPLE))
        copy = folder / "copy"
        copy.mkdir()
        worker = site.start_worker()
        try:
            assert site.call("sync", "--wait")["status"] == "succeeded"
            site.server.copy_files(copy)
            site.roster.write_text(company(PEOPLE, changes={1: {"location": "Perth"}}))
            assert site.call("sync", "--wait")["status"] == "succeeded"
            site.server.kill()
            site.server.put_back(copy)
            site.server.start()
            with site.running("beat"):
                eventually(lambda: "redis_went_back" in worker.said(), why=worker.said)
                eventually(lambda: "put back" in check(site.config).out, why=worker.said)
                printed = check(site.config)
        finally:
            worker.stop()
    as_documented(printed, ALONE[3])
