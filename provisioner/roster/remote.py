"""Rosters that lie elsewhere: https with conditional requests, and what fsspec reaches (sftp, s3)."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec
import httpx

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster.pages import read_pages
from provisioner.roster.values import Source
from provisioner.settings.allowed import UnclearAddressError, is_allowed
from provisioner.settings.place import EXTRAS, is_loopback, scheme_of, shown
from provisioner.settings.roster import PageSettings

_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
#: All of a download has to be done within this many seconds.
DEADLINE: Final = 600.0


@dataclass(frozen=True, slots=True)
class Access:
    """How the own roster is asked for.

    `headers` may hold secrets, and go to the host of `own` alone. `pages` are of an address there, with the list of
    people at `records`.
    """

    own: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    pages: PageSettings | None = None
    records: str | None = None

    def covers(self, url: httpx.URL) -> bool:
        """Whether an address is on the host of the own roster."""
        try:
            own = httpx.URL(self.own)
        except httpx.InvalidURL:
            return False
        return (own.scheme, own.host, _port(own)) == (url.scheme, url.host, _port(url))


def _port(url: httpx.URL) -> int:
    return url.port or {"https": 443, "http": 80}.get(url.scheme, 0)


def fetch_https(
    url: str,
    known: Mapping[str, str],
    limit: int,
    *,
    access: Access | None = None,
    prefixes: Collection[str] = (),
    bound: bool = False,
) -> Source:
    """Download the roster, unless the server says that it is the writing that is known.

    Args:
        access: how the own roster is asked for; it counts where `url` is on the same host.
        prefixes: `web.rosters`: where a redirect may lead, whatever network that is in.
        bound: every address on the way has to lie under one of the prefixes.

    Raises:
        RosterError: no answer, a refusal, or more than `limit` bytes.
        ConfigurationError: plain http beyond this machine.
    """
    name = shown(url)
    _check_scheme(url, name)
    headers = {"Accept": "*/*", "User-Agent": "provisioner"}
    written = known.get("written", "")
    if written.startswith("etag:"):
        headers["If-None-Match"] = written.removeprefix("etag:")
    elif written.startswith("modified:"):
        headers["If-Modified-Since"] = written.removeprefix("modified:")
    access = access or Access(url)
    client = httpx.Client(
        timeout=_TIMEOUT,
        follow_redirects=True,
        max_redirects=5,
        event_hooks=_only_safe(url, name, prefixes, access, bound=bound),
    )
    try:
        if access.pages is not None and access.covers(httpx.URL(url)):
            with client:
                return _paged(client, httpx.URL(url), name, access, access.pages, known, limit)
        with (
            client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code == httpx.codes.NOT_MODIFIED and written:
                return Source(name, b"", written, _modified(answer), known.get("digest", ""), unchanged=True)
            _check_status(answer, name)
            content = _bounded(answer, name, limit)
    except httpx.TimeoutException:
        raise RosterError(f"{name} did not answer in time.", remedy="Try again later.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise RosterError(f"{name} cannot be reached ({type(exc).__name__}).", remedy="Check roster.url.") from None
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    etag, modified = answer.headers.get("etag"), answer.headers.get("last-modified")
    identity = f"etag:{etag}" if etag else f"modified:{modified}" if modified else f"content:{digest}"
    return Source(name, content, identity, _modified(answer), digest)


def _paged(
    client: httpx.Client,
    first: httpx.URL,
    name: str,
    access: Access,
    pages: PageSettings,
    known: Mapping[str, str],
    limit: int,
) -> Source:
    """All pages as one writing. What is known of the first page says nothing about the others, so each is read."""
    end = time.monotonic() + DEADLINE
    auth = httpx.BasicAuth(first.username, first.password) if first.userinfo else None

    def ask(address: httpx.URL, room: int) -> tuple[httpx.Response, bytes]:
        own = auth if access.covers(address) else None
        with client.stream("GET", address, headers={"Accept": "*/*", "User-Agent": "provisioner"}, auth=own) as answer:
            _check_status(answer, name)
            return answer, _bounded(answer, name, limit, room=room, end=end)

    content = read_pages(first.copy_with(username=None, password=None), name, pages, access.records, limit, ask)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    written = f"content:{digest}"
    if written == known.get("written"):
        return Source(name, b"", written, None, digest, unchanged=True)
    return Source(name, content, written, None, digest)


def _check_scheme(url: str, name: str) -> None:
    if scheme_of(url) == "https" or is_loopback(urlsplit(url).hostname or ""):
        return
    raise ConfigurationError(f"roster.url: {name} is not encrypted.", remedy="Use https://.")


def _only_safe(url: str, name: str, prefixes: Collection[str], access: Access, *, bound: bool) -> dict[str, list[Any]]:
    """Requests must neither leave encryption, nor lead into a network that the settings do not name.

    That holds for redirects and for addresses of next pages. The headers of the settings go to their host alone.
    """
    first = httpx.URL(url)

    def check(request: httpx.Request) -> None:
        there = request.url
        for header, value in access.headers.items():
            # What follows a redirect keeps the headers of the request before
            if access.covers(there):
                request.headers[header] = value
            elif header in request.headers:
                del request.headers[header]
        if there.scheme != "https" and not (is_loopback(there.host) and is_loopback(first.host)):
            raise RosterError(f"{name} leads to an address that is not encrypted.", remedy="Check roster.url.")
        if (
            there == first
            or (access.pages is not None and access.covers(there) and access.covers(first) and not bound)
            or _covered(str(there), prefixes)
        ):
            return
        if bound:
            raise RosterError(
                f"{name} leads to an address that web.rosters does not cover.",
                remedy="Add the prefix to web.rosters if that address is right.",
            )
        if there.host != first.host and _is_private(there.host, there.port):
            raise RosterError(
                f"{name} leads to an address in a private network.",
                remedy="Add its prefix to web.rosters if that address is right.",
            )

    return {"request": [check]}


def _covered(address: str, prefixes: Collection[str]) -> bool:
    try:
        return is_allowed(address, prefixes)
    except UnclearAddressError:
        return False


def _is_private(host: str, port: int | None) -> bool:
    """Whether a host is, or may be, on this machine or in a network that the internet does not reach."""
    if is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # Behind a proxy no name is known here; without one nothing is reached
        return False
    return any(not ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_global for one in found)


def _check_status(answer: httpx.Response, name: str) -> None:
    status = answer.status_code
    if status == httpx.codes.OK:
        return
    remedies = {
        401: "Fix the credentials in roster.url.",
        403: "Fix the credentials in roster.url.",
        404: "Fix roster.url, or wait for the export.",
    }
    raise RosterError(f"{name} answered {status}.", remedy=remedies.get(status, "Try again later."))


def _bounded(
    answer: httpx.Response, name: str, limit: int, *, room: int | None = None, end: float | None = None
) -> bytes:
    """The body, of at most `room` bytes (none: `limit`, which is what all of it may have) and by the moment `end`."""
    parts: list[bytes] = []
    size = 0
    end = time.monotonic() + DEADLINE if end is None else end
    for part in answer.iter_bytes():
        size += len(part)
        if size > (limit if room is None else room):
            raise RosterError(f"{name} is larger than {limit // 1024**2} MiB.")
        if time.monotonic() > end:
            raise RosterError(f"{name} took longer than {DEADLINE:g} s.", remedy="Try again later.")
        parts.append(part)
    return b"".join(parts)


def _modified(answer: httpx.Response) -> datetime | None:
    try:
        moment = parsedate_to_datetime(answer.headers["last-modified"])
    except (KeyError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def fetch_stored(url: str, known: Mapping[str, str], limit: int) -> Source:
    """Bring a file, or the newest of a folder or glob, from a file system that fsspec knows.

    Raises:
        RosterError: the package for it is missing, the file is, or it is still being written.
    """
    name = shown(url)
    scheme = scheme_of(url)
    try:
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError:
        raise RosterError(
            f"{name}: reading {scheme}:// needs another package.",
            remedy=f"Install provisioner[{EXTRAS.get(scheme, scheme)}].",
        ) from None
    except Exception as exc:  # noqa: BLE001  each file system raises errors of its own
        raise _unreachable(name, exc) from None
    try:
        return _newest_stored(system, path, name, known, limit)
    except RosterError:
        raise
    except FileNotFoundError:
        raise RosterError(f"{name} does not exist.", remedy="Fix roster.url, or wait for the export.") from None
    except PermissionError:
        raise RosterError(f"{name} may not be read.", remedy="Fix the credentials in roster.url.") from None
    except Exception as exc:  # noqa: BLE001  each file system raises errors of its own
        raise _unreachable(name, exc) from None


def _unreachable(name: str, error: BaseException) -> RosterError:
    # The text of such errors may repeat the password, so only their kind is shown
    return RosterError(
        f"{name} cannot be read ({type(error).__name__}).", remedy="Check roster.url and its credentials."
    )


def _newest_stored(system: Any, path: str, name: str, known: Mapping[str, str], limit: int) -> Source:
    if any(sign in path for sign in "*?["):
        places = [place for place in system.glob(path) if system.isfile(place)]
    elif system.isdir(path):
        places = [info["name"] for info in system.ls(path, detail=True) if info["type"] == "file"]
    else:
        places = [path]
    infos = [system.info(place) for place in places if not place.rsplit("/", 1)[-1].startswith((".", "~"))]
    infos = [info for info in infos if info.get("size") or len(places) == 1]
    if not infos:
        raise RosterError(f"{name} holds no roster.", remedy="Fix roster.url, or wait for the export.")
    oldest = datetime.min.replace(tzinfo=UTC)
    newest = max(infos, key=lambda info: (_stored_at(info) or oldest, info["name"]))
    if (newest.get("size") or 0) > limit:
        raise RosterError(f"{name} is larger than {limit // 1024**2} MiB.")
    written = _stored_identity(newest)
    if written and written == known.get("written"):
        return Source(name, b"", written, _stored_at(newest), known.get("digest", ""), unchanged=True)
    content: bytes = system.cat_file(newest["name"], end=limit + 1)
    if _stored_identity(system.info(newest["name"])) != written:
        raise RosterError(f"{name} is still being written.", remedy="Try again when the export is done.")
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Source(name, content, written or f"content:{digest}", _stored_at(newest), digest)


def _stored_at(info: Mapping[str, Any]) -> datetime | None:
    for part in ("LastModified", "mtime", "modified", "created"):
        value = info.get(part)
        if isinstance(value, (int, float)):
            value = datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return None


def _stored_identity(info: Mapping[str, Any]) -> str | None:
    etag = info.get("ETag")
    moment = _stored_at(info)
    if etag:
        return f"stored:{etag}:{info.get('size')}"
    return f"stored:{moment.isoformat()}:{info.get('size')}" if moment else None
