"""Addresses of files and services: what they lead to, and what of them may be shown. The one reader; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

#: `roster.url` where people are pushed one by one instead of a file.
PUSHED_PEOPLE: Final = "scim:"

#: The extra of this package that reading and writing by a scheme needs, where it needs one.
EXTRAS: Final[Mapping[str, str]] = {"sftp": "sftp", "s3": "s3"}


def scheme_of(address: str) -> str:
    """The scheme in lower case; ``file`` for a plain path, folder or glob."""
    return urlsplit(address).scheme.lower() if "://" in address else "file"


def path_of(address: str) -> str:
    """The path within an address, its percent signs decoded; a plain path as it is."""
    return unquote(urlsplit(address).path) if "://" in address else address


def shown(address: str) -> str:
    """An address without user, password, query and fragment: what operators see; a plain path as it is."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"


def is_pushed(address: str) -> bool:
    """Whether `roster.url` says that people are pushed one by one to ``/scim/v2``."""
    return address.strip().lower() in (PUSHED_PEOPLE, f"{PUSHED_PEOPLE}//")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
