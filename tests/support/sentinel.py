"""A master and its replica under a Sentinel, which can be parted from each other."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import redis

from tests.support.ports import free_port
from tests.support.tcp_servers import DURABLE, PASSWORD, TcpServer

MASTER: Final = "house"
#: Seconds without an answer after which the Sentinel makes the replica the master. A replica whose link has been broken
#: for more than ten times as long would not be taken.
DOWN_AFTER: Final = 5.0


class Pair:
    """A master and its replica, watched by one Sentinel."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(3)]
        first, second = ports[:2]
        self.master = TcpServer(folder / "master", first, "--port", str(first), *DURABLE)
        follows = ("--replicaof", f"127.0.0.1 {first}")
        self.replica = TcpServer(folder / "replica", second, "--port", str(second), *follows, *DURABLE)
        watch = folder / "sentinel.conf"
        watch.write_text(
            f"port {ports[2]}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {first} 1\n"
            f"sentinel auth-pass {MASTER} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER * 1000:.0f}\n"
            f"sentinel failover-timeout {MASTER} 20000\n"
        )
        self.sentinel = TcpServer(folder / "sentinel", ports[2], str(watch), "--sentinel")
        self.url = f"sentinel://:{PASSWORD}@127.0.0.1:{ports[2]}/{MASTER}/0"

    def in_step(self) -> bool:
        """Whether the replica has all that the master has."""
        return bool(redis.Redis.from_url(self.master.url).wait(1, 1000))

    def part(self) -> None:
        """Let nothing more reach the replica."""
        redis.Redis.from_url(self.replica.url).config_set("masterauth", "another")
        redis.Redis.from_url(self.master.url).client_kill_filter(_type="replica")

    def leads(self) -> bool:
        """Whether the replica is the master by now."""
        return bool(redis.Redis.from_url(self.replica.url).info("replication")["role"] == "master")
