"""However many operations a run has, a page reads the same few."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from provisioner.store.redis import keys
from tests.cli.calling import call
from tests.web.conftest import Site

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


def fill(client: redis.Redis, count: int) -> str:
    """A run of so many operations, the newest of all; its id."""
    run, target = _RUN.format(count), "tribal_habits"
    client.eval(_FILL, 0, keys.run(run), target, count)
    fields: dict[Any, Any] = {"stage": "delivering", "status": "failed", "planned:create": count, "n:failed:create": 60}
    client.hset(keys.run_target(run, target), mapping={**fields, "n:succeeded:create": count - 60})
    facts: dict[Any, Any] = {"trigger": "manual", "status": "failed", "stage": "begun", "started": 1, "finished": 2}
    client.hset(keys.run(run), mapping={**facts, "targets": json.dumps([target])})
    client.zadd(keys.RUNS, {run: 4e9})
    client.hset(keys.lists(target), "plan", json.dumps([run]))
    return run


@dataclass(frozen=True, slots=True)
class Effort:
    """What Redis did: `commands` that it carried out, those within scripts too, and `answered` in bytes."""

    commands: int
    answered: int

    @classmethod
    def so_far(cls, client: redis.Redis) -> Effort:
        """Since the statistics began."""
        commands = sum(one["calls"] for one in client.info("commandstats").values())
        return cls(commands, client.info("stats")["total_net_output_bytes"])


def efforts(redis_url: str, looks: Mapping[str, Callable[[str], None]]) -> dict[str, list[Effort]]:
    """What each look takes at a run of a hundred operations, and at one of a hundred thousand."""
    found: dict[str, list[Effort]] = {name: [] for name in looks}
    # The larger run takes a busy machine a while to make
    with redis.Redis.from_url(redis_url, socket_timeout=60) as client:
        for count in (100, 100_000):
            client.delete(keys.RUNS)
            run = fill(client, count)
            for name, look in looks.items():
                # What is made once, such as connections, is made now
                look(run)
                client.config_resetstat()
                look(run)
                found[name].append(Effort.so_far(client))
    return found


def is_bounded(found: Mapping[str, Sequence[Effort]]) -> None:
    """A thousand times as many operations: the same commands, and no more rows, as larger numbers are a few bytes."""
    for name, (small, large) in found.items():
        assert small.commands == large.commands < 400, (name, small, large)
        assert large.answered < small.answered + 2_000, (name, small, large)


def test_pages_of_a_large_run_read_as_little_as_those_of_a_small_one(site: Site, redis_url: str) -> None:
    site.sign_in()

    def look_at(path: str) -> Callable[[str], None]:
        def look(run: str) -> None:
            assert site.get(path.format(run)).status_code == 200

        return look

    paths = (
        *("/", "/runs", "/runs/{}", "/runs/{}?status=failed", "/runs/{}/approval", "/metrics", "/audit"),
        *("/api/runs", "/api/runs/{}", "/api/runs/{}/operations", "/api/runs/{}/operations?status=failed&limit=10"),
    )
    is_bounded(efforts(redis_url, {path: look_at(path) for path in paths}))


def test_so_do_the_commands(site: Site, redis_url: str, tmp_path: Path) -> None:
    del site

    def look_with(command: str, *options: str) -> Callable[[str], None]:
        def look(run: str) -> None:
            words = (command, run, *options) if command == "show" else (command, *options)
            answer = call(*words, PROVISIONER_CONFIG=str(tmp_path / "provisioner.yaml"))
            assert answer.code == 0, answer.err
            assert run in answer.out

        return look

    asked = (("show", "--json"), ("show",), ("show", "--failed"), ("runs",))
    is_bounded(efforts(redis_url, {" ".join(words): look_with(*words) for words in asked}))


def test_a_filter_that_passes_few_reads_a_bounded_number_of_them(site: Site, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        run = fill(client, 5_000)
        page = site.get(f"/api/runs/{run}/operations?status=pending").json()
        assert (page["operations"], page["next"] is not None) == ([], True)
        last = site.get(site.get(page["next"]).json()["next"]).json()
        assert (last["operations"], last["next"]) == ([], None)
        client.config_resetstat()
        few = site.get(f"/api/runs/{run}/operations?status=failed&limit=10").json()
        assert [one["person"] for one in few["operations"]] == [f"W{number}" for number in range(10)]
        assert Effort.so_far(client).commands < 40
