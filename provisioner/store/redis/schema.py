"""The version of what lies in Redis: written at the first start, brought forward by migrations, refused backward.

A layout has a number, and `provisioner:schema` says which one the data has. A newer program that finds an older number
brings the data forward, one migration after the other, each noted before the next one begins. An older program that
finds a newer number touches nothing, since it would read wrongly what it does not know. Data without a number was
written before numbers were: it has the first layout.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import structlog

from provisioner.errors import StoreError
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import Hold, commit, holding

log = structlog.get_logger(__name__)

#: The layout that this program reads and writes.
VERSION: Final = 1

#: Brings data from one layout to the next. It may be ended at any point and begun again, so each step of it is one that
#: does the same twice as once.
Migration = Callable[[Redis], Awaitable[None]]

#: By the layout that a migration starts from.
MIGRATIONS: Final[Mapping[int, Migration]] = {}

_WORK: Final = "migration"
#: Seconds after which a migration that died lets another process begin it again.
_HOLD: Final = 30


async def ensure_schema(
    redis: Redis,
    *,
    version: int = VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
    reading: bool = False,
) -> None:
    """Return once the data has the layout that this program knows; one GET where it has.

    Args:
        version: the layout that is wanted.
        migrations: by the layout that each starts from.
        reading: change nothing, not even by noting the number.

    Raises:
        StoreError: the data is of a newer layout, or of one that no migration leads from; it is being migrated; or,
            when only reading, it has to be migrated first.
    """
    found = await stored(redis)
    if found == version:
        return
    if found is not None and found > version:
        raise StoreError(
            f"The data in Redis has layout {found}; this version knows layouts up to {version}.",
            remedy="Install the version that wrote it, or a newer one; layouts only go forward.",
        )
    if reading:
        if found is None:
            return
        raise StoreError(
            f"The data in Redis has layout {found} and must be brought to layout {version} first.",
            remedy="Start a worker of this version, which does so.",
        )
    if found is None:
        with redis_errors():
            await redis.set(keys.SCHEMA, version, nx=True)
        return
    async with holding(redis, keys.doing(_WORK), seconds=_HOLD) as hold:
        if hold is None:
            raise StoreError(
                "Another process is bringing the data in Redis forward just now.", remedy="Start again in a minute."
            )
        await _migrate(redis, hold, version, migrations)


async def stored(redis: Redis) -> int | None:
    """The number of the data's layout; None if none is noted.

    Raises:
        StoreError: Redis does not answer, or the note is no number.
    """
    with redis_errors():
        text = await redis.get(keys.SCHEMA)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise StoreError(
            f"The key {keys.SCHEMA} holds no number.", remedy="Something else wrote into this Redis database."
        ) from None


async def _migrate(redis: Redis, hold: Hold, version: int, migrations: Mapping[int, Migration]) -> None:
    # Another process may have been done with it meanwhile
    found = await stored(redis)
    while found is not None and found < version:
        migration = migrations.get(found)
        if migration is None:
            raise StoreError(
                f"No migration leads from layout {found} of the data in Redis to layout {version}.",
                remedy="Upgrade by way of the versions in between; the changelog names them.",
            )
        await hold.ensure()
        log.warning("migrating", layout=found, to=found + 1)
        with redis_errors():
            await migration(redis)
        found += 1
        await commit(redis, hold, partial(_note, version=found))
        log.warning("migrated", layout=found)


def _note(pipe: Redis, *, version: int) -> None:
    pipe.set(keys.SCHEMA, version)
