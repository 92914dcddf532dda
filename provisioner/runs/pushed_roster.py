"""The roster of people who are pushed one by one: as one writing, whole, and whether Redis may have lost some of them.

Whoever pushes people does so once. If Redis loses what was pushed, or is put back to an earlier state, they do not push
it again by themselves, so the roster is doubted until somebody says that all are there.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from provisioner.errors import RosterError
from provisioner.model.pushed_person import PushedPerson
from provisioner.roster import Source
from provisioner.roster.pushed_rows import rows
from provisioner.settings import Settings
from provisioner.store.stores import Stores

NAME: Final = "the people pushed to /scim/v2"
#: What a writing of it begins with; the number of changes follows.
WRITTEN: Final = "scim:"
_AGAIN: Final = (
    "Let the identity provider push everybody again (Microsoft Entra: Restart provisioning; Okta: Force Sync)"
)


async def pushed_roster(stores: Stores, settings: Settings) -> Source:
    """Everybody who was pushed.

    Raises:
        RosterError: nobody was.
        StoreError: Redis does not answer.
    """
    # Before the people are read: what is pushed meanwhile makes the next writing, and has a run of its own
    facts = await stores.pushed_people.facts()
    doubt = await behind(stores)
    people = [one async for one in stores.pushed_people.everybody()]
    if not people:
        remedy = "Assign people to this application in the identity provider; docs/cookbook.md shows how."
        if doubt:
            raise RosterError(f"Nobody is there of those who were pushed to /scim/v2. {doubt}", remedy=f"{_AGAIN}.")
        raise RosterError("Nobody was pushed to /scim/v2 yet.", remedy=remedy)
    content = await asyncio.to_thread(_content, people, settings)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Source(NAME, content, f"{WRITTEN}{facts.revision}", None, digest, doubt=doubt)


def _content(people: list[PushedPerson], settings: Settings) -> bytes:
    return rows(people, settings.roster, created={one.id: _day(one.created, settings.zone) for one in people})


def _day(seconds: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(seconds, zone).date().isoformat()


async def behind(stores: Stores) -> str | None:
    """Why people may be missing among those who were pushed, as a sentence with what to do; None if nothing says so.

    Raises:
        StoreError: Redis does not answer.
    """
    settled = (await stores.pushed_people.facts()).settled
    mark, position = await stores.mark.read(), await stores.position.read()
    lost = mark.quiet_until if mark is not None and mark.lost else 0.0
    since = max(position.went_back, lost)
    if since <= settled:
        return None
    what = "was put back to an earlier state" if position.went_back >= lost else "lost its data"
    return (
        f"Redis {what} ({datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC), and what was pushed after that state "
        f"does not come again by itself. {_AGAIN}, then accept the roster."
    )


async def nobody_yet(stores: Stores) -> bool:
    """Whether nobody was ever pushed, as far as is known: then there is nothing to sync.

    Raises:
        StoreError: Redis does not answer.
    """
    return not (await stores.pushed_people.facts()).revision and await behind(stores) is None
