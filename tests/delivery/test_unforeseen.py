"""What a target's package or our own program does that nobody thought of, one by one in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError

from provisioner import logs
from provisioner.dispatch.outcome_spool import Spool, Spooled
from provisioner.errors import ConfigurationError, StoreError, UnexpectedError, WorkerError
from provisioner.events.poll import read_back
from provisioner.events.routes import send_out
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Outcome, Unclear
from provisioner.runs.estimate import estimate, finish_estimate
from provisioner.runtime import faults
from provisioner.sandbox import Switchboard
from provisioner.store.events.outbox import Outgoing
from provisioner.store.queue.operations import End, QueueStore
from provisioner.targets.capabilities import ReadBack
from provisioner.targets.http import Http
from provisioner.targets.mtribes import Mtribes
from provisioner.targets.traitly import Traitly
from tests.decisions.conftest import Opened, company
from tests.support.documents import anything
from tests.support.harness import drain, due_now, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio

SIZES = {"coming": 3, "going": 2, "news": 1}


async def test_a_target_may_name_its_groups_as_it_likes(
    opened: Opened, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, int]] = []

    def group(self: Traitly, operation: Operation) -> str:
        del self
        name = {Kind.LEAVE: "going", Kind.EVENT: "news"}.get(operation.kind, "coming")
        return f"{name}#{operation.after.get('plan') or ''}"

    write = Traitly.write

    async def counting(self: Traitly, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        sent.append((group(self, operations[0]).partition("#")[0], len(operations)))
        return await write(self, http, operations)

    monkeypatch.setattr(Traitly, "group", group)
    monkeypatch.setattr(Traitly, "batch_size", lambda _, name: SIZES[name])
    monkeypatch.setattr(Traitly, "write", counting)
    roster.write_text(company(5))
    gate = {"max_leaving": "100%"}
    async with opened(only=("traitly",), reading={"gate": gate}, guards={"leavers": {"percent": 100}}) as dep:
        assert (await sync_once(dep))["status"] == "succeeded"
        roster.write_text(company(5, gone=(0, 1, 2)))
        assert (await sync_once(dep))["status"] == "succeeded"
        assert sorted(size for name, size in sent if name == "coming") == [2, 3]
        assert sorted(size for name, size in sent if name == "going") == [1, 2]
        assert await estimate(dep, "traitly", {"leave": 4, "event": 1}) >= 0
        assert await finish_estimate(dep, "traitly") == 0.0
    assert {one["plan"] for one in switchboard.accounts("traitly")} == {"Leaver", "Employee"}


@pytest.mark.parametrize("said", [[], ["done"], [Unclear("a", "b")] * 3])
async def test_outcomes_that_are_none_are_unclear_and_end(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch, said: Any
) -> None:
    async def write(*_: Any) -> Any:
        return said

    monkeypatch.setattr(Traitly, "write", write)
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        run = await sync_once(dep)
        for _ in range(6):
            await due_now(dep, "traitly")
            await drain(dep)
        document = anything(await dep.runs.document(run["run"]))
        assert document["status"] == "failed"
        first, second = anything(await dep.runs.operations(run["run"], ["traitly"]))
        assert (first["person"], first["error"]["code"]) == ("W0000", "unexpected")
        assert first["error"]["message"].startswith("traitly: its package did not say")
        assert second["error"]["code"] == "leader_failed"
        assert first["attempts"] == 6


async def test_a_look_up_that_fails_unexpectedly_says_nothing_about_the_others(
    opened: Opened, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def confirm(*_: Any) -> Outcome | None:
        raise KeyError("Jane")

    monkeypatch.setattr(Traitly, "confirm", confirm)
    switchboard.fault("traitly", match={"method": "POST", "path_prefix": "/api/v1/event"}, drop="after", times=1)
    roster.write_text(company(3))
    async with opened(only=("traitly",)) as dep:
        run = await sync_once(dep)
        for _ in range(7):
            await due_now(dep, "traitly")
            await drain(dep)
        document = anything(await dep.runs.document(run["run"]))
        assert document["targets"]["traitly"]["succeeded"] == {"create": 3, "event": 2}
        (failed,) = anything(await dep.runs.operations(run["run"], ["traitly"], statuses=["failed"]))
        assert failed["error"]["code"] == "unexpected"
        assert "looking whether it was done ended with KeyError" in failed["error"]["message"]
    assert len(switchboard.state("traitly")["events"]) == 3, "nothing was sent twice"


async def test_a_spooled_outcome_that_redis_refuses_holds_up_no_other(
    opened: Opened, roster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(3))
    async with opened(only=("traitly",)) as dep:
        await dep.health.pause("traitly", paused=True)
        run = await sync_once(dep)
        await dep.health.pause("traitly", paused=False)
        claims = await dep.queue.claim("traitly", lease=60, token="one", limits={"*": 3})
        spool = Spool(tmp_path)
        for claim in claims:
            spool.add(Spooled(claim, {"account": claim.operation.person}, claim.operation.person))
        record = QueueStore.record

        async def picky(self: QueueStore, ends: Sequence[End], *rest: Any, **more: Any) -> list[bool]:
            if ends[0].claim.operation.person == "W0000":
                raise StoreError("Redis refused a command.") from ResponseError("user_script:12: a nil value")
            return await record(self, ends, *rest, **more)

        monkeypatch.setattr(QueueStore, "record", picky)
        assert await spool.replay(dep.queue) == 2
        assert spool.empty
        (line,) = (tmp_path / "refused-outcomes.jsonl").read_bytes().splitlines()
        assert json.loads(line)["operation"]["person"] == "W0000"
        document = anything(await dep.runs.document(run["run"]))
        assert document["targets"]["traitly"]["succeeded"] == {"create": 2}


async def test_reading_back_from_one_target_goes_on_after_another_failed(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> ReadBack | None:
        raise RecursionError("Jane")

    async def nothing(*_: Any) -> ReadBack | None:
        return ReadBack({})

    roster.write_text(company(1))
    async with opened(only=("mtribes", "traitly")) as dep:
        first, second = tuple(dep.targets)
        kinds = {"mtribes": Mtribes, "traitly": Traitly}
        monkeypatch.setattr(kinds[first], "read_back", broken)
        monkeypatch.setattr(kinds[second], "read_back", nothing)
        result = await read_back(dep)
        assert result.failed == {first: "reading back ended with RecursionError"}
        assert result.new == {second: 0}
        assert (await dep.faults.standing())[f"readback:{first}"].count == 1
        monkeypatch.setattr(kinds[first], "read_back", nothing)
        await read_back(dep)
        assert await dep.faults.standing() == {}


async def test_an_outgoing_webhook_that_cannot_be_made_is_put_off_and_buried(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = {"on": "traitly.propensity_calculated", "to": "https://example.com/in", "secret": "s" * 24}

    async def broken(*_: Any) -> None:
        raise KeyError("Jane")

    monkeypatch.setattr("provisioner.events.routes._send_one", broken)
    async with opened(events=[route]) as dep:
        now = await dep.clock.now()
        await dep.outbox.add([Outgoing("one", "traitly", "propensity_calculated", dep.routes[0].id, "{}", now)], now)
        for tries in range(1, 7):
            await send_out(dep)
            waiting = await dep.outbox.waiting()
            assert [one["tries"] for one in waiting] == ([tries] if tries < 6 else [])
            RedisContents(dep).let_outbox_be_due("one")
        assert (await dep.outbox.dead())["one"]["error"].endswith("sending it ended with KeyError")


def _said(text: str) -> StoreError:
    error = StoreError("Redis refused a command.")
    error.__cause__ = ResponseError(text)
    return error


@pytest.mark.parametrize(
    ("exc", "is_fault"),
    [
        (KeyError("a"), True),
        (MemoryError(), True),
        (asyncio.CancelledError(), True),
        (ConfigurationError("wrong"), True),
        (_said("user_script:7: attempt to index a nil value script: abc"), True),
        (_said("WRONGTYPE Operation against a key holding the wrong kind of value"), True),
        (_said("OOM command not allowed when used memory > 'maxmemory'."), False),
        (_said("MISCONF Redis is configured to save RDB snapshots"), False),
        (StoreError("Redis does not answer."), False),
        (RedisConnectionError("gone"), False),
        (NoPermissionError("no"), False),
        (WorkerError(), False),
        (SystemExit(1), False),
        (KeyboardInterrupt(), False),
    ],
)
async def test_what_is_a_fault(exc: BaseException, is_fault: bool) -> None:
    assert faults.is_fault(exc) is is_fault
    if isinstance(exc, asyncio.CancelledError):
        assert not faults.is_fault(exc, stopping=True)


@pytest.mark.usefixtures("logging_as_before")
async def test_a_fault_is_logged_by_its_places_and_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(json=True)

    def inner() -> None:
        raise ValueError("could not parse 'Jane Secret'")

    try:
        inner()
    except ValueError as exc:
        faults.log_fault("it_failed", exc, person="W1")
    said = capsys.readouterr()
    text = said.out + said.err
    assert "Jane" not in text
    assert "test_unforeseen.py" in text
    assert "inner" in text
    assert faults.named(ValueError("Jane")) == "ValueError"
    assert faults.named(UnexpectedError("We say so.")) == "We say so"
