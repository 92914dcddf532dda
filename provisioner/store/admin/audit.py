"""The audit trail: what people did, in the order in which they did it. Only forgotten people's keys leave it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from provisioner.model.audit_entry import AuditEntry
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.runs.documents import moment


class AuditStore:
    """The trail of the whole deployment."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, by: str, action: str, facts: Mapping[str, Any]) -> None:
        """Write down one action.

        Args:
            by: who did it.
            action: what, in a word or two.
            facts: what about, as JSON can hold it.
        """
        entry = {"by": by, "action": action, "facts": json.dumps(dict(facts), ensure_ascii=False)}
        with redis_errors():
            await self._redis.xadd(keys.AUDIT, entry)

    async def newest(self, limit: int, before: str | None = None) -> list[AuditEntry]:
        """The newest entries first, each with its `id`, `at`, `by`, `action` and facts.

        Args:
            before: the id of an entry; only older ones.
        """
        end = f"({before}" if before else "+"
        with redis_errors():
            found = await self._redis.xrevrange(keys.AUDIT, max=end, min="-", count=limit)
        entries: list[AuditEntry] = []
        for name, fields in found:
            id_ = name.decode()
            entry = {
                "id": id_,
                "at": moment(int(id_.partition("-")[0]) / 1000),
                "by": fields[b"by"].decode(),
                "action": fields[b"action"].decode(),
                **json.loads(fields[b"facts"]),
            }
            entries.append(cast("AuditEntry", entry))
        return entries
