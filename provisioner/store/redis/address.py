"""Where Redis is: `redis_url` read once, and translated for everyone who connects.

redis-py, Celery (through kombu) and redbeat each write sockets, TLS and Sentinel in their own way. Nothing else in this
package knows those ways. It does no I/O, except to read the line in which `up` names its socket.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from provisioner.errors import ConfigurationError
from provisioner.settings import Settings

Scheme = Literal["redis", "rediss", "unix", "sentinel"]

#: The kernel keeps a socket's path in 108 bytes, the last of them zero; some systems have 104.
LONGEST_SOCKET_PATH: Final = 103
#: Seconds until a connection counts as failed.
CONNECT_TIMEOUT: Final = 5.0
#: Seconds until an answer counts as missing; scripts take milliseconds, a snapshot of a large roster less than this.
ANSWER_TIMEOUT: Final = 30.0
#: Seconds of silence after which a connection is tried before it is used.
HEALTH_CHECK_INTERVAL: Final = 30
#: Tries of redbeat while Redis restarts, within about half a minute, before beat gives up and is restarted.
BEAT_RETRIES: Final = 60
#: The same in seconds, for Sentinels, where redbeat takes no other.
BEAT_PATIENCE: Final = 30

_REMEDY: Final = (
    "Write redis://[user:password@]host:6379/0, rediss://… for TLS, unix:///path/redis.sock?db=0, or "
    "sentinel://host:26379,host2:26379/mymaster/0."
)
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS: Final = (*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password", "ssl")
_CERT_REQS: Final = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
_PORTS: Final = {"redis": 6379, "rediss": 6379, "sentinel": 26379}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One Redis database, however it is reached.

    Attributes:
        scheme: the way there.
        hosts: of the server, or of all Sentinels; empty for a socket.
        db: number of the database.
        path: of the socket; else None.
        master: the name by which the Sentinels know the server; else None.
        tls: the `ssl_…` options in redis-py's words; None: no TLS.
        sentinel_username, sentinel_password: the Sentinels' own credentials, where they have some.
        own: whether this is the server of `provisioner up`, because no `redis_url` is set.
    """

    scheme: Scheme
    hosts: tuple[tuple[str, int], ...] = ()
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str | None = None
    master: str | None = None
    tls: Mapping[str, Any] | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    own: bool = False

    @classmethod
    def of(cls, settings: Settings) -> RedisAddress:
        """The address that the settings name, or the socket of `up` in `data_dir`.

        Raises:
            ConfigurationError: `redis_url` is wrong; its password is not part of the message.
        """
        if settings.redis_url is None:
            return cls(scheme="unix", path=str(socket_path(settings.data_dir)), own=True)
        return cls.parse(settings.redis_url.get_secret_value())

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """Read an address as `redis_url` takes it.

        Raises:
            ConfigurationError: it is wrong; its password is not part of the message.
        """
        try:
            return _parse(url.strip())
        except ValueError as exc:
            # `from None`: the lower error may quote the address with its password
            raise ConfigurationError(f"redis_url: {exc}.", remedy=_REMEDY) from None

    @property
    def redacted(self) -> str:
        """The address for people to read: no password, no options."""
        if self.scheme == "unix":
            return f"unix://{self.path}?db={self.db}"
        database = f"{self.master}/{self.db}" if self.master else str(self.db)
        return f"{self.scheme}://{','.join(_netloc(*host) for host in self.hosts)}/{database}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear in no log."""
        return tuple(secret for secret in (self.password, self.sentinel_password) if secret)

    @property
    def credentials(self) -> dict[str, Any]:
        """User name and password in redis-py's words, where there are some."""
        return _given(username=self.username, password=self.password)

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """How redis-py (without an event loop), Celery and redbeat connect to the Sentinels themselves."""
        return {
            **_given(username=self.sentinel_username, password=self.sentinel_password),
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            # Where one Sentinel is down, the next one is asked at once
            "retry": Retry(NoBackoff(), 0),
            **({"ssl": True, **self.tls} if self.tls is not None else {}),
        }

    def celery_settings(self) -> dict[str, Any]:
        """Celery's and redbeat's settings about how to reach Redis.

        The caller merges its own `broker_transport_options` (visibility timeout, priorities) into the ones given here.
        """
        options: dict[str, Any] = {
            "socket_timeout": ANSWER_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_CHECK_INTERVAL,
        }
        beat: dict[str, Any] = {
            "socket_timeout": ANSWER_TIMEOUT,
            "health_check_interval": HEALTH_CHECK_INTERVAL,
            # Its own `retry_period` leaves out its lock, which is where a restart of Redis finds it
            "retry": Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.1), BEAT_RETRIES),
        }
        if self.scheme == "sentinel":
            options |= {"master_name": self.master, "sentinel_kwargs": self.sentinel_options}
            beat = {
                "sentinels": list(self.hosts),
                "service_name": self.master,
                "sentinel_kwargs": self.sentinel_options,
                "db": self.db,
                "socket_timeout": ANSWER_TIMEOUT,
                "retry_period": BEAT_PATIENCE,
                **self.credentials,
            }
        settings: dict[str, Any] = {
            "broker_url": self._kombu_url(),
            "broker_transport_options": options,
            "broker_connection_retry_on_startup": True,
            "redbeat_redis_url": "redis-sentinel://" if self.scheme == "sentinel" else self._redis_py_url(),
            "redbeat_redis_options": beat,
        }
        if self.tls is not None:
            settings |= {"broker_use_ssl": dict(self.tls), "redbeat_redis_use_ssl": dict(self.tls)}
        return settings

    def _kombu_url(self) -> str:
        if self.scheme == "unix":
            return f"redis+socket://{self._userinfo()}{quote(str(self.path))}?virtual_host={self.db}"
        return ";".join(f"{self.scheme}://{self._userinfo()}{_netloc(*host)}/{self.db}" for host in self.hosts)

    def _redis_py_url(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self._userinfo()}{quote(str(self.path))}?db={self.db}"
        return f"{self.scheme}://{self._userinfo()}{_netloc(*self.hosts[0])}/{self.db}"

    def _userinfo(self) -> str:
        if self.username is None and self.password is None:
            return ""
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"{quote(self.username or '', safe='')}{password}@"


def socket_path(data_dir: Path) -> Path:
    """Where the server of `up` listens, or would listen: `<data_dir>/redis/redis.sock`.

    Where that is too long for a socket, `up` makes a short private folder and leaves its path in `socket_record`.
    """
    path = data_dir.resolve() / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    try:
        return Path(socket_record(data_dir).read_text(encoding="utf-8").strip()) / "redis.sock"
    except FileNotFoundError:
        return path


def socket_record(data_dir: Path) -> Path:
    """The file that tells in which folder the socket is, where `data_dir` is too deep for one."""
    return data_dir.resolve() / "redis" / "socket_folder"


def _parse(url: str) -> RedisAddress:
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("redis", "rediss", "unix", "sentinel"):
        raise ValueError("it begins with none of redis://, rediss://, unix:// and sentinel://")
    # A list of hosts has several ports, which urlsplit would refuse; what is before the path is taken apart here
    parts = urlsplit(f"//{rest}")
    if parts.fragment:
        raise ValueError("it holds a #; write %23 where the password has one")
    if "@" in parts.path + parts.query:
        raise ValueError("an @ comes after a / or a ?; write %2F and %3F where the password has these")
    userinfo, at, location = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    common: dict[str, Any] = {
        "username": unquote(user) or None,
        "password": unquote(password) if at and colon else None,
    }
    path = unquote(parts.path)
    if scheme == "unix":
        if location or not path.startswith("/") or path == "/":
            raise ValueError("a socket needs an absolute path: three slashes after unix:")
        common["db"] = _database(options.pop("db", ""))
        _no_more(options)
        return RedisAddress(scheme="unix", path=path, **common)
    steps = [step for step in path.split("/") if step]
    tls = _tls(options) if scheme == "rediss" or _true(options.get("ssl", "false")) else None
    hosts = tuple(_host(text, _PORTS[scheme]) for text in location.split(","))
    if scheme == "sentinel":
        if not 1 <= len(steps) <= 2:
            raise ValueError("sentinel:// needs the master's name, and after it at most the database: /mymaster/0")
        sentinel = {name: options.pop(name) for name in _SENTINEL_OPTIONS if name in options}
        common |= {"master": steps[0], "db": _database(steps[1] if len(steps) == 2 else options.pop("db", ""))}
        common |= {name: value for name, value in sentinel.items() if name != "ssl"}
    else:
        if len(hosts) != 1 or len(steps) > 1:
            raise ValueError(f"{scheme}:// takes one host and at most the number of a database after it")
        common["db"] = _database(steps[0] if steps else options.pop("db", ""))
    _no_more(options)
    return RedisAddress(scheme=scheme, hosts=hosts, tls=tls, **common)  # type: ignore[arg-type]  # `common` holds fields of the class only


def _database(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError("the number of the database is no number")
    return int(text or 0)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        number = parts.port
    except ValueError:
        raise ValueError("a port is no number from 0 to 65535") from None
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, port if number is None else number


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls(options: dict[str, str]) -> dict[str, Any]:
    """Takes the TLS options out of the query; certificates are verified unless it says otherwise."""
    given = {name: options.pop(name) for name in _TLS_OPTIONS if name in options}
    wanted = given.pop("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if wanted not in _CERT_REQS:
        raise ValueError("ssl_cert_reqs is none of required, optional and none")
    tls: dict[str, Any] = {"ssl_cert_reqs": _CERT_REQS[wanted]}
    tls["ssl_check_hostname"] = _true(given.pop("ssl_check_hostname", str(wanted == "required")))
    return tls | given


def _true(text: str) -> bool:
    if text.lower() not in ("true", "1", "yes", "false", "0", "no"):
        raise ValueError("ssl and ssl_check_hostname are either true or false")
    return text.lower() in ("true", "1", "yes")


def _no_more(options: Mapping[str, str]) -> None:
    if options:
        # Not named: with an unquoted ? in it, it is the end of the password
        known = ", ".join(("db", *_TLS_OPTIONS, *_SENTINEL_OPTIONS))
        raise ValueError(f"it has an option that is not known here; known are {known}")


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
