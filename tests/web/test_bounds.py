"""However many operations a run has, a page reads the same few."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from provisioner.store import keys
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


def calls(client: redis.Redis) -> int:
    """Commands that Redis carried out, those within scripts too."""
    return sum(one["calls"] for one in client.info("commandstats").values())


@pytest.mark.parametrize(
    "path", ["/", "/runs/{}", "/runs/{}?status=failed", "/api/runs/{}/operations", "/runs", "/metrics"]
)
def test_pages_of_a_large_run_read_as_little_as_those_of_a_small_one(site: Site, redis_url: str, path: str) -> None:
    site.sign_in()
    read = []
    with redis.Redis.from_url(redis_url) as client:
        for count in (100, 100_000):
            client.delete(keys.RUNS)
            run = fill(client, count)
            site.get(path.format(run))
            client.config_resetstat()
            answer = site.get(path.format(run))
            assert answer.status_code == 200
            read.append(calls(client))
    assert read[0] == read[1]
    assert read[0] < 400


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
        assert calls(client) < 40
