"""A run of very many operations, made in a moment, and what Redis has to do when somebody looks at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from provisioner.store.redis import keys

_RUN = "20300101-000000-000{}"
#: Makes a run of so many operations as the queue would have left it, the first sixty of them failed.
_FILL = """
local prefix, target, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
for i = 0, count - 1 do
  local id, status = string.format('%024d', i), i < 60 and 'failed' or 'succeeded'
  local doc = { id = id, target = target, person = 'W' .. i, kind = 'create', before = cjson.decode('{}'),
    after = { email = 'p' .. i .. '@example.com' }, drift = false }
  redis.call('HSET', prefix .. ':op:' .. target .. ':' .. id, 'doc', cjson.encode(doc), 'status', status,
    'person', 'W' .. i, 'kind', 'create', 'error', i < 60 and '{"code":"taken","message":"it is taken"}' or '')
  redis.call('ZADD', prefix .. ':ops:' .. target, i, id)
  if i < 60 then redis.call('ZADD', prefix .. ':by:' .. target .. ':failed', i, id) end
end
"""


@dataclass(frozen=True, slots=True)
class Effort:
    """What Redis did: `commands` that it carried out, those within scripts too, and `answered` in bytes."""

    commands: int
    answered: int


class LargeRuns:
    """Makes runs and counts effort, over one connection."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    @classmethod
    @contextmanager
    def at(cls, redis_url: str) -> Iterator[LargeRuns]:
        """For as long as the context lasts."""
        # The larger run takes a busy machine a while to make
        with redis.Redis.from_url(redis_url, socket_timeout=60) as client:
            yield cls(client)

    def fill(self, count: int) -> str:
        """A run of so many operations, the newest of all; its id."""
        run, target, client = _RUN.format(count), "tribal_habits", self._client
        client.eval(_FILL, 0, keys.run(run), target, count)
        fields: dict[Any, Any] = {"stage": "delivering", "status": "failed", "planned:create": count}
        fields |= {"n:failed:create": 60, "n:succeeded:create": count - 60}
        client.hset(keys.run_target(run, target), mapping=fields)
        facts: dict[Any, Any] = {"trigger": "manual", "status": "failed", "stage": "begun", "started": 1, "finished": 2}
        client.hset(keys.run(run), mapping={**facts, "targets": json.dumps([target])})
        client.zadd(keys.RUNS, {run: 4e9})
        client.hset(keys.lists(target), "plan", json.dumps([run]))
        return run

    def effort_of(self, look: Callable[[], object]) -> Effort:
        """What Redis did for one look."""
        self._client.config_resetstat()
        look()
        commands = sum(one["calls"] for one in self._client.info("commandstats").values())
        return Effort(commands, self._client.info("stats")["total_net_output_bytes"])

    def forget_runs(self) -> None:
        """Leave no run on the list."""
        self._client.delete(keys.RUNS)


def efforts(redis_url: str, looks: Mapping[str, Callable[[str], None]]) -> dict[str, list[Effort]]:
    """What each look takes at a run of a hundred operations, and at one of a hundred thousand."""
    found: dict[str, list[Effort]] = {name: [] for name in looks}
    with LargeRuns.at(redis_url) as runs:
        for count in (100, 100_000):
            runs.forget_runs()
            run = runs.fill(count)
            for name, look in looks.items():
                # What is made once, such as connections, is made now
                look(run)
                found[name].append(runs.effort_of(lambda look=look, run=run: look(run)))  # type: ignore[misc]
    return found


def is_bounded(found: Mapping[str, Sequence[Effort]]) -> None:
    """A thousand times as many operations: the same commands, and no more rows, as larger numbers are a few bytes."""
    for name, (small, large) in found.items():
        assert small.commands == large.commands < 400, (name, small, large)
        assert large.answered < small.answered + 2_000, (name, small, large)
