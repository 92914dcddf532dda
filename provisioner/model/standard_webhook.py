"""The signature of Standard Webhooks (https://www.standardwebhooks.com), made and checked. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

#: Seconds that a timestamp may lie before or after now.
TOLERANCE: Final = 300
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_LONGEST_ID: Final = 256


def signature(key: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """``v1,`` and the Base64 of HMAC-SHA256 of id, time and body."""
    signed = b".".join([identifier.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class NotSignedError(Exception):
    """A webhook that is not what it says; the sentence is for our log alone."""


def checked_id(keys: Iterable[bytes], headers: Mapping[str, str], body: bytes, *, now: float) -> str:
    """The id of a webhook whose signature is right by one of the keys, and whose time is about now.

    Args:
        now: epoch seconds.

    Raises:
        NotSignedError: says what is wrong.
    """
    identifier, time, signed = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not 0 < len(identifier) <= _LONGEST_ID or not identifier.isascii() or not identifier.isprintable():
        raise NotSignedError(f"{ID} is missing, or no id")
    if not time.isascii() or not time.isdecimal() or len(time) > 12:
        raise NotSignedError(f"{TIMESTAMP} is missing, or no number of seconds")
    wanted = [signature(key, identifier, int(time), body).encode() for key in keys]
    given = [one.encode(errors="replace") for one in signed.split()[:16]]
    # Each is compared with each, so that it takes equally long
    right = sum(hmac.compare_digest(one, other) for one in wanted for other in given)
    if not right:
        raise NotSignedError(f"{SIGNATURE} is not ours")
    if abs(now - int(time)) > TOLERANCE:
        raise NotSignedError(f"{TIMESTAMP} is more than {TOLERANCE} s from now")
    return identifier
