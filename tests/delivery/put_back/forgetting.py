"""What Redis is made to forget, and what the stand-ins hold then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from provisioner.dispatch.redis_loss import remembers
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.admin.position import WENT_BACK
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import company
from tests.support.harness import drain, sync_once
from tests.support.redis_server import RedisServer

PEOPLE = 12


async def put_back(
    server: RedisServer, dep: Deployment, copy: Path, meanwhile: Callable[[], Awaitable[object]]
) -> None:
    """Let something happen, and Redis forget that it did."""
    copy.mkdir()
    server.copy_files(copy)
    await meanwhile()
    await remembers(dep)
    server.kill()
    server.put_back(copy)
    server.start()


async def two_left_and_redis_forgot(server: RedisServer, dep: Deployment, roster: Path, folder: Path) -> None:
    """Two of a company leave Traitly, after which Redis is put back to before, and that is noticed."""
    roster.write_text(company(PEOPLE))
    await sync_once(dep)

    async def left() -> None:
        roster.write_text(company(PEOPLE, gone=(1, 2)))
        assert (await sync_once(dep))["targets"]["traitly"]["succeeded"]["leave"] == 2

    await put_back(server, dep, folder / "copy", left)
    await remembers(dep)


async def look_of_a_roster_read_before(
    dep: Deployment, roster: Path, read: str, meanwhile: str, person: str
) -> dict[str, Any]:
    """The look of a roster that was read before a newer one and a run about one person; the document of the look."""
    (target,) = dep.targets
    roster.write_text(read)
    look = await lifecycle.request_run(dep, Request(trigger="manual"))
    await lifecycle.begin(dep, look)
    roster.write_text(meanwhile)
    alone = await sync_once(dep, people=(person,))
    assert alone["status"] == "running"
    assert WENT_BACK in str(alone["targets"][target]["notes"])
    await lifecycle.plan(dep, look, target)
    await drain(dep)
    # What waited for the look goes on by itself
    await lifecycle.plan(dep, alone["run"], target)
    await drain(dep)
    document = await dep.runs.document(look)
    assert document is not None
    return dict(document)


def plans(switchboard: Switchboard) -> dict[str, str]:
    return {account["customer_id"]: account["plan"] for account in switchboard.accounts("traitly")}


def boards_of(switchboard: Switchboard, email: str) -> set[str]:
    msid = next(one["msid"] for one in switchboard.accounts("habitate") if one["email"] == email)
    return {name for name, those in switchboard.state("habitate")["boards"].items() if msid in those}
