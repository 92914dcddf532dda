"""Addresses that somebody less trusted may name: those under a prefix of the settings. Pure.

An address is judged by its parts, never by how its text begins: ``https://hr.example.com`` does not cover
``https://hr.example.com.evil.example``. Whatever two readers could understand differently is refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from provisioner.settings.place import scheme_of

_PORTS: Final = {"http": 80, "https": 443, "sftp": 22}
_SCHEMES: Final = frozenset({"file", "http", "https", "sftp", "s3"})
#: Control characters, white space other than a plain space inside, and the backslash, which some take for a slash.
_ODD: Final = re.compile(r"[\x00-\x1f\x7f\\]|[^\S ]|^\s|\s\Z")
_HOST: Final = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")
#: How often percent signs are decoded before the address counts as a trick.
_MOST_DECODINGS: Final = 3


class UnclearAddressError(ValueError):
    """An address that two readers could understand differently; the message says why, without repeating it."""


@dataclass(frozen=True, slots=True)
class Place:
    """The parts of an address in the spelling in which addresses are compared; `host` is empty for a path."""

    scheme: str
    host: str
    port: int | None
    path: str
    query: str

    @classmethod
    def of(cls, address: str) -> Place:
        """Take an address apart.

        Raises:
            UnclearAddressError: it holds what only a trick needs.
        """
        if not address or _ODD.search(address):
            raise UnclearAddressError("it is empty, or holds white space, a control character or a backslash")
        scheme = scheme_of(address)
        if scheme not in _SCHEMES:
            raise UnclearAddressError("its scheme is none of https, sftp, s3 and a path")
        if "://" not in address:
            return cls("file", "", None, _path(address, decode=False), "")
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            raise UnclearAddressError("its host or port cannot be read") from None
        if "@" in parts.netloc:
            raise UnclearAddressError("it holds a user or password")
        if parts.fragment or "#" in address:
            raise UnclearAddressError("it holds a fragment")
        host = (parts.hostname or "").lower()
        if scheme == "file":
            if host not in ("", "localhost") or port is not None or parts.query:
                raise UnclearAddressError("a file has no host, port or query")
            return cls("file", "", None, _path(parts.path, decode=True), "")
        if not _HOST.fullmatch(host):
            raise UnclearAddressError("its host holds other signs than a-z, 0-9, dots and hyphens")
        return cls(scheme, host, port or _PORTS.get(scheme), _path(parts.path or "/", decode=True), parts.query)

    def covers(self, other: Place) -> bool:
        """Whether another place is this one, or lies beneath it. A prefix with a query covers only itself."""
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        if self.query:
            return (self.path, self.query) == (other.path, other.query)
        beneath = self.path if self.path.endswith("/") else f"{self.path}/"
        return other.path == self.path or other.path.startswith(beneath)


def _path(path: str, *, decode: bool) -> str:
    """A path with its percent signs decoded, in which no step leads upwards."""
    slashes = path.count("/")
    for _ in range(_MOST_DECODINGS):
        _check_steps(path)
        decoded = unquote(path, errors="strict") if decode and _decodable(path) else path
        if decoded == path:
            if path.count("/") != slashes:
                raise UnclearAddressError("a slash of its path is percent-encoded")
            return path
        path = decoded
    raise UnclearAddressError("its percent-encoding is encoded again")


def _decodable(path: str) -> bool:
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise UnclearAddressError("its percent-encoding is no UTF-8") from None
    return True


def _check_steps(path: str) -> None:
    if _ODD.search(path):
        raise UnclearAddressError("its path holds white space, a control character or a backslash")
    if any(step in (".", "..") for step in path.split("/")) or path.startswith("~"):
        raise UnclearAddressError("its path holds a step upwards or to a home folder")
    if "//" in path or "::" in path:
        # Two colons chain file systems to fsspec
        raise UnclearAddressError("its path holds an empty step or two colons")


def may_be_prefix(address: str) -> str:
    """A prefix of the settings, checked.

    Raises:
        ValueError: it is unclear, a glob, or a path that is not absolute.
    """
    place = Place.of(address)
    if place.scheme == "file" and not posixpath.isabs(place.path):
        raise ValueError("write a path from the root on, such as /srv/rosters")
    if place.scheme == "file" and re.search(r"[*?\[]", place.path):
        raise ValueError("a prefix is no glob; name the folder")
    return address


def is_allowed(address: str, prefixes: Iterable[str]) -> bool:
    """Whether an address lies under one of the prefixes.

    Raises:
        UnclearAddressError: two readers could understand it differently.
    """
    place = Place.of(address)
    return any(Place.of(prefix).covers(place) for prefix in prefixes)
