"""What lies in Redis, as tests look at it and change it: by what it is about, never by a command or the name of a key.

Only here, in `tests/support/large_run.py` and in `tests/store` does a test speak to Redis itself. Every method opens a
connection of its own, so that an inspector may be made anywhere, also within an event loop.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import islice
from typing import Any, Final

import redis

from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.events.inbound import GROUP
from provisioner.store.redis import keys
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import connect_sync

#: Where bulk work lies at the broker: a list of Celery's.
_WORK: Final = "provisioner.work"
#: When each entry of beat's schedule is due: a sorted set of redbeat's.
_SCHEDULE: Final = keys.beat(":schedule")
#: Keys that Celery and the wake-ups leave, whatever is under way.
_PASSING: Final = (keys.nudged(""), f"{keys.PREFIX[:-1]}.", "_kombu")
_ABOUT_PEOPLE: Final = re.compile(
    rf"{keys.PREFIX}(run:[^:]+:(op|stage|rejects|people|content)\b|ledger:|observed:|roster:|history:|facts:|inbound"
    r"|outbox:|lists:|claim:|slots:)"
)


class RedisContents:
    """Everything in one Redis database."""

    def __init__(self, where: Deployment | Settings | str) -> None:
        """
        Args:
            where: a deployment, its settings, or the address of its Redis.
        """
        self._settings = where.settings if isinstance(where, Deployment) else where

    @contextmanager
    def _redis(self) -> Iterator[Any]:
        if isinstance(self._settings, str):
            client: Any = redis.Redis.from_url(self._settings)
        else:
            client = connect_sync(RedisAddress.of(self._settings))
        try:
            yield client
        finally:
            client.close()

    def server_name(self) -> str:
        """What the server is, and its version."""
        with self._redis() as client:
            info = client.info("server")
        return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"

    # All of it

    def lose_everything(self) -> None:
        """Redis comes back empty."""
        with self._redis() as client:
            client.flushall()

    def delete_ours(self) -> None:
        """Delete what is ours; what Celery has stays."""
        with self._redis() as client:
            for name in client.scan_iter(f"{keys.PREFIX}*", count=1000):
                client.delete(name)

    def count(self) -> int:
        """How many keys there are."""
        with self._redis() as client:
            return int(client.dbsize())

    def count_but_claims(self) -> int:
        """The same without what claims took, which passes in minutes."""
        return sum(not name.startswith(keys.claim.pattern.partition("*")[0]) for name in self.names())

    def names(self) -> set[str]:
        """The names of all keys."""
        with self._redis() as client:
            return {name.decode() for name in client.scan_iter(count=1000)}

    def lasting(self) -> set[str]:
        """The names of all keys but for those of the pace of requests, of Celery and of wake-ups."""
        passing = (*_PASSING, keys.pace(""))
        return {name for name in self.names() if not name.startswith(passing)}

    def values(self) -> dict[str, Any]:
        """Everything by its name, in redis-py's types."""
        with self._redis() as client:
            readers: Mapping[str, Any] = {
                "string": client.get,
                "hash": client.hgetall,
                "list": lambda name: client.lrange(name, 0, -1),
                "set": client.smembers,
                "zset": lambda name: client.zrange(name, 0, -1, withscores=True),
                "stream": client.xrange,
            }
            found = {}
            for name in client.scan_iter(count=1000):
                type_ = client.type(name).decode()
                # It may have ended since
                if type_ in readers:
                    found[name.decode()] = readers[type_](name)
        return found

    def restorable(self) -> dict[str, Any]:
        """The strings, hashes and sets that are ours, by their names without what all begin with."""
        found = {}
        for name, value in self.values().items():
            key = keys.kind_of(name)
            if key is not None and key.type in ("STRING", "HASH", "SET", "ZSET"):
                found[name.removeprefix(keys.PREFIX)] = value
        return found

    def dumps(self) -> dict[str, bytes]:
        """All that is ours, in Redis's own form, but for the pace of requests and the signs of life."""
        with self._redis() as client:
            found = {name.decode(): client.dump(name) for name in client.scan_iter(f"{keys.PREFIX}*", count=1000)}
        moving = (keys.pace(""), keys.HEARTBEATS, keys.WORKERS)
        return {name: value for name, value in found.items() if not name.startswith(moving) and value}

    def unknown(self) -> list[str]:
        """Our keys that the table of keys does not have, or has as another type."""
        found = []
        with self._redis() as client:
            # Some tests make a hundred thousand operations, which are all of one kind
            names = list(islice(client.scan_iter(match=f"{keys.PREFIX}*", count=1000), 2000))
            with client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.type(name)
                types = pipe.execute()
        for name, answer in zip(names, types, strict=True):
            key, type_ = keys.kind_of(name), answer.decode().upper()
            if key is None:
                found.append(name.decode())
            # It may have ended since
            elif key is not keys.pace and key.type != "any" and type_ not in (key.type, "NONE"):
                found.append(f"{name.decode()} ({type_})")
        return found

    @staticmethod
    def is_about_people(name: str) -> bool:
        """Whether a key is where Redis holds people's data: what is planned and sent, what targets hold, the roster,
        events from outside."""
        return _ABOUT_PEOPLE.match(name) is not None

    @staticmethod
    def is_ledger(name: str) -> bool:
        """Whether a key is a target's ledger."""
        return keys.kind_of(name) is keys.ledger

    # The layout

    def layout(self) -> bytes | None:
        """The number of the data's layout, as it is noted."""
        with self._redis() as client:
            found: bytes | None = client.get(keys.SCHEMA)
        return found

    def claim_layout(self, number: int) -> None:
        """Note another layout."""
        with self._redis() as client:
            client.set(keys.SCHEMA, number)

    # Runs and their operations

    def run_names(self) -> set[str]:
        """The names of everything that is kept of runs."""
        return {name for name in self.names() if name.startswith(keys.run(""))}

    def run_fields(self) -> list[dict[str, str]]:
        """All runs, the oldest first, with the fields that the store keeps, and their id as `run`."""
        found = []
        with self._redis() as client:
            for name in client.zrange(keys.RUNS, 0, -1):
                fields = client.hgetall(keys.run(name.decode()))
                found.append({key.decode(): value.decode() for key, value in fields.items()} | {"run": name.decode()})
        return found

    def being_sent(self, run: str, target: str) -> int:
        """How many operations of a run's part are being sent now."""
        with self._redis() as client:
            fields = client.hgetall(keys.run_target(run, target))
        return sum(int(count) for name, count in fields.items() if name.startswith(b"n:sending:"))

    def overtaken(self, run: str | None = None, target: str = "") -> set[str]:
        """Whom a run's part is to plan again; without a run all parts that plan somebody again."""
        with self._redis() as client:
            found = client.smembers(keys.OVERTAKEN if run is None else keys.run_again(run, target))
        return {name.decode() for name in found}

    def operation_exists(self, run: str, target: str, operation: str) -> bool:
        """Whether an operation is kept."""
        return self._exists(keys.operation(run, target, operation))

    def half_lay_down(self, run: str, target: str, operation: str) -> None:
        """What a planner leaves that was killed while it laid down a plan."""
        with self._redis() as client:
            client.rpush(keys.stage(run, target), operation)
            client.hset(keys.operation(run, target, operation), mapping={"doc": "{}", "wanted_status": "pending"})
            client.zadd(keys.run_operations(run, target), {operation: 0})

    def pretend_operation(self, person: str, target: str, *, status: str) -> None:
        """An account operation of a person, of a run that nobody knows of otherwise."""
        with self._redis() as client:
            fields = {"status": status, "kind": "update", "person": person}
            client.hset(keys.operation("a-run", target, "an-id"), mapping=fields)
            client.hset(keys.slots(target), f"{person}\x1faccount", "a-run|an-id")

    def count_ended(self, day: int, counts: Mapping[str, int]) -> None:
        """Count operations of an earlier day.

        Args:
            day: days since 1970-01-01 UTC.
            counts: by ``<hour>|<kind>|<status>``.
        """
        with self._redis() as client:
            client.hset(keys.tally(day), mapping=dict(counts))

    def tally_ends_in(self, day: int) -> int:
        """Seconds for which what ended on a day (days since 1970-01-01 UTC) is still kept."""
        with self._redis() as client:
            return int(client.ttl(keys.tally(day)))

    def history_is_kept(self, person: str) -> bool:
        """Whether the newest operations of a person are kept."""
        return self._exists(keys.history(person))

    def let_history_be_trimmed(self) -> None:
        """The hour in which history is trimmed once is over."""
        with self._redis() as client:
            client.delete(keys.SWEPT)

    def history_was_trimmed(self) -> bool:
        """Whether history was trimmed in this hour."""
        return self._exists(keys.SWEPT)

    # The queue

    def leased(self, target: str) -> list[bytes]:
        """The operations that somebody has claimed, as the queue names them."""
        with self._redis() as client:
            found: list[bytes] = client.zrange(keys.leases(target), 0, -1)
        return found

    def lease(self, target: str, member: str) -> None:
        """Somebody claims an operation, and its lease is over already."""
        with self._redis() as client:
            client.zadd(keys.leases(target), {member: 1})

    def end_leases(self, target: str) -> None:
        """The time of every lease is over."""
        with self._redis() as client:
            for member in client.zrange(keys.leases(target), 0, -1):
                client.zadd(keys.leases(target), {member: 0}, xx=True)

    def age_links(self, target: str, seconds: float) -> None:
        """Let every link of a target have begun so much earlier."""
        with self._redis() as client:
            for person, text in client.hgetall(keys.ledger(target)).items():
                entry = json.loads(text)
                entry["linked"] = entry.get("linked", 0.0) - seconds
                client.hset(keys.ledger(target), person, json.dumps(entry))

    def end_waits(self, target: str) -> None:
        """The time of whatever is parked has come."""
        with self._redis() as client:
            for member in client.zrange(keys.parked(target), 0, -1):
                client.zadd(keys.parked(target), {member: 0}, xx=True)

    def lose_wakeups(self) -> None:
        """The time in which a wake-up may still arrive is over."""
        self._delete_all(keys.nudged.pattern)

    def end_tag_holds(self) -> None:
        """The time is over for which the dead may hold anybody's tags."""
        self._delete_all(keys.tagging.pattern)

    def end_work_locks(self, begin: str = "") -> None:
        """The time is over for which the dead may hold the lock of work whose name begins so."""
        self._delete_all(keys.doing(f"{begin}*"))

    def end_seats(self, target: str) -> None:
        """The time is over for which the dead may hold seats at a target."""
        self._delete_all(keys.seat(target, "*", "*"))

    # Locks: what a method gives is passed to the three methods behind them

    @staticmethod
    def work_lock(name: str) -> str:
        """The lock of a piece of work."""
        return keys.doing(name)

    @staticmethod
    def beginning_lock(run: str) -> str:
        """The lock of reading a run's roster."""
        return keys.run_beginning(run)

    @staticmethod
    def planning_lock(target: str, run: str | None = None) -> str:
        """The lock of planning a target; of a run's own part of it, if the run is given."""
        return keys.busy(target) if run is None else keys.doing(f"install:{run}:{target}")

    def is_held(self, lock: str) -> bool:
        """Whether somebody has a lock."""
        return self._exists(lock)

    def hold(self, lock: str, holder: str = "another|token") -> None:
        """Let another process have a lock, whoever has it now."""
        with self._redis() as client:
            client.set(lock, holder)

    def free(self, lock: str) -> None:
        """Let nobody have a lock."""
        with self._redis() as client:
            client.delete(lock)

    def lifetime_of(self, lock: str) -> int:
        """Seconds for which a lock is held, unless it is renewed."""
        with self._redis() as client:
            return int(client.ttl(lock))

    def lengthen(self, lock: str, seconds: int) -> None:
        """Let a lock be held for so many seconds."""
        with self._redis() as client:
            client.expire(lock, seconds)

    # Targets

    def let_probe_be_due(self, target: str) -> None:
        """The time of the next look at a target in quarantine has come."""
        with self._redis() as client:
            client.hset(keys.health(target), "probe_at", 0)

    def note_sent(self, target: str, guard: str, moments: Mapping[str, float]) -> None:
        """Operations of a guard were sent at these moments."""
        with self._redis() as client:
            client.zadd(keys.sent(target, guard), dict(moments))

    def forget_sent(self, target: str, *guards: str) -> None:
        """Nothing of these guards was sent."""
        with self._redis() as client:
            client.delete(*(keys.sent(target, guard) for guard in guards))

    def age_leaves(self, target: str, days: int) -> None:
        """Let everybody who left a target have left so many days earlier, by the ledger."""
        self._change_days(target, lambda day: (date.fromisoformat(day) - timedelta(days=days)).isoformat())

    def forget_days_of_leaving(self, target: str) -> None:
        """Let the ledger be one that does not have the day on which somebody left, as an earlier version's."""
        self._change_days(target, lambda _: None)

    def _change_days(self, target: str, change: Callable[[str], str | None]) -> None:
        with self._redis() as client:
            for person, text in client.hgetall(keys.ledger(target)).items():
                entry = json.loads(text)
                if "left" in entry:
                    day = change(entry.pop("left"))
                    entry |= {"left": day} if day else {}
                    client.hset(keys.ledger(target), person, json.dumps(entry))

    def age_roster(self, days: float) -> None:
        """Let the last clean roster have been read so many days earlier."""
        with self._redis() as client:
            taken = float(client.hget(keys.ROSTER, "taken"))
            client.hset(keys.ROSTER, "taken", taken - days * 86400)

    def forget_observed(self, target: str) -> None:
        """The accounts that the target was last seen to hold are forgotten."""
        with self._redis() as client:
            client.delete(keys.observed(target))

    # People

    def ledger(self, target: str) -> dict[bytes, bytes]:
        """The ledger's entries of a target, as they lie there."""
        with self._redis() as client:
            found: dict[bytes, bytes] = client.hgetall(keys.ledger(target))
        return found

    def respell_person(self, old: str, new: str, targets: Iterable[str]) -> None:
        """Let a ledger have somebody under another spelling, as versions did that took it for another person's."""
        with self._redis() as client:
            for target in targets:
                text = client.hget(keys.ledger(target), old)
                client.hdel(keys.ledger(target), old)
                client.hset(keys.ledger(target), new, text)

    def link(self, target: str, person: str, entry: Mapping[str, Any]) -> None:
        """Put an entry into the ledger."""
        with self._redis() as client:
            client.hset(keys.ledger(target), person, json.dumps(dict(entry)))

    def receipt_is_kept(self, person: str) -> bool:
        """Whether a leaver's receipt is kept, or listed."""
        with self._redis() as client:
            listed = client.zscore(keys.RECEIPTS, person) is not None
        return listed or self._exists(keys.receipt(person))

    def receipts(self) -> int:
        """How many receipts there are."""
        with self._redis() as client:
            return int(client.zcard(keys.RECEIPTS))

    def person_events(self, person: str) -> tuple[int, int]:
        """How many events are kept about a person, and for how many seconds."""
        with self._redis() as client:
            return int(client.zcard(keys.heard(person))), int(client.ttl(keys.heard(person)))

    def keep_fact(self, person: str, target: str, fact: str) -> None:
        """A fact of a person that says nothing."""
        with self._redis() as client:
            client.hset(keys.facts(person), f"{target}|{fact}", "{}")

    def people_with_facts(self) -> set[str]:
        """Of whom facts are kept."""
        with self._redis() as client:
            return {keys.facts.part_of(name) for name in client.scan_iter(keys.facts.pattern, count=1000)}

    # Events and webhooks

    def inbound(self) -> list[dict[bytes, bytes]]:
        """The events that are not handled yet."""
        with self._redis() as client:
            return [fields for _, fields in client.xrange(keys.INBOUND)]

    def spread_letters(self, bodies: Mapping[str, str]) -> None:
        """Put events, by id, wherever events and webhooks may lie: new, unknown, put off, dead."""
        with self._redis() as client:
            for name, body in bodies.items():
                text = json.dumps({"body": body})
                client.hset(keys.INBOUND_DEAD, name, text)
                client.hset(keys.OUTBOX_DEAD, name, text)
                client.lpush(keys.INBOUND_UNKNOWN, text)
                client.zadd(keys.INBOUND_LATER, {text: 1.0})
                client.xadd(keys.INBOUND, {"body": body}, id=name)

    @staticmethod
    def names_after_an_event() -> set[str]:
        """The keys that one event that was accepted makes."""
        return {keys.INBOUND, keys.INBOUND_SEEN, keys.INBOUND_COUNTS}

    def leave_inbound(self) -> None:
        """The workers that took events died long ago."""
        with self._redis() as client:
            for one in client.xpending_range(keys.INBOUND, GROUP, "-", "+", 10_000):
                client.xclaim(keys.INBOUND, GROUP, "dead", 0, [one["message_id"]], idle=600_000, justid=True)

    def has_inbound(self) -> bool:
        """Whether an event ever came."""
        return self._exists(keys.INBOUND)

    def let_outbox_be_due(self, item: str | None = None) -> None:
        """The time of every outgoing webhook has come, or of one."""
        with self._redis() as client:
            for one in client.zrange(keys.OUTBOX, 0, -1) if item is None else (item,):
                client.zadd(keys.OUTBOX, {one: 0}, xx=True)

    # Signs of life

    def signs(self) -> dict[str, float]:
        """When each sign of life was given, in epoch seconds."""
        with self._redis() as client:
            return {name.decode(): float(at) for name, at in client.hgetall(keys.HEARTBEATS).items()}

    def sign(self, name: str, ago: float) -> None:
        """A sign of life was last given so many seconds ago."""
        with self._redis() as client:
            client.hset(keys.HEARTBEATS, name, time.time() - ago)

    def workers(self) -> list[tuple[str, float]]:
        """The workers' entries and their last signs, in epoch seconds, the earliest first."""
        with self._redis() as client:
            return [(one.decode(), seen) for one, seen in client.zrange(keys.WORKERS, 0, -1, withscores=True)]

    def see_worker(self, entry: str, at: float) -> None:
        """A worker's last sign was given at a moment, in epoch seconds."""
        with self._redis() as client:
            client.zadd(keys.WORKERS, {entry: at})

    def forget_worker(self, entry: str) -> None:
        """Take a worker off the list."""
        with self._redis() as client:
            client.zrem(keys.WORKERS, entry)

    # The broker and beat

    def messages(self) -> int:
        """How many wake-ups wait for bulk work."""
        with self._redis() as client:
            return int(client.llen(_WORK))

    def fill_queue(self, count: int) -> None:
        """Put messages before the workers that say nothing."""
        with self._redis() as client:
            client.rpush(_WORK, *["{}"] * count)

    def empty_queue(self) -> None:
        """Take all messages away."""
        with self._redis() as client:
            client.delete(_WORK)

    def break_queue(self) -> None:
        """Let there be something else where the messages lie."""
        with self._redis() as client:
            client.set(_WORK, "no list")

    def sent(self) -> list[str]:
        """The names of the wake-ups that wait for bulk work."""
        with self._redis() as client:
            return [json.loads(one)["headers"]["task"] for one in client.lrange(_WORK, 0, -1)]

    @staticmethod
    def entry(name: str) -> str:
        """An entry of beat's schedule, as redbeat calls it."""
        return keys.beat(name)

    def entry_meta(self, name: str) -> bytes | None:
        """What redbeat keeps of an entry's last run."""
        with self._redis() as client:
            found: bytes | None = client.hget(keys.beat(name), "meta")
        return found

    def write_entry(self, name: str, content: Mapping[str, str] | str) -> None:
        """Put an entry into beat's schedule, with or without what is to be found there."""
        with self._redis() as client:
            if isinstance(content, str):
                client.set(keys.beat(name), content)
            else:
                client.hset(keys.beat(name), mapping=dict(content))

    def let_entries_be_due(self, *names: str) -> None:
        """The time of these entries has come, and there is rubbish among them."""
        with self._redis() as client:
            client.zadd(_SCHEDULE, {**dict.fromkeys(map(keys.beat, names), 1), "rubbish": 1})

    def entries_due(self) -> dict[str, float]:
        """When each entry is due, in epoch seconds."""
        with self._redis() as client:
            places = client.zrange(_SCHEDULE, 0, -1, withscores=True)
        return {name.decode().removeprefix(keys.beat("")): at for name, at in places}

    def take_entry_off(self, name: str) -> None:
        """Nothing says any more when an entry is due."""
        with self._redis() as client:
            client.zrem(_SCHEDULE, keys.beat(name))

    def lose_schedule(self) -> None:
        """Beat's schedule is lost; its lock stays."""
        with self._redis() as client:
            for name in client.scan_iter(keys.beat.pattern, count=1000):
                if not name.endswith(b":lock"):
                    client.delete(name)

    def beat_lock(self) -> bytes | None:
        """Which beat acts now."""
        with self._redis() as client:
            found: bytes | None = client.get(keys.beat(":lock"))
        return found

    def _exists(self, name: str) -> bool:
        with self._redis() as client:
            return bool(client.exists(name))

    def _delete_all(self, pattern: str) -> None:
        with self._redis() as client:
            for name in client.scan_iter(pattern, count=1000):
                client.delete(name)
