"""What a vendor's answer means: the one table by which all of them are judged, and the errors that follow."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from provisioner.errors import (
    ListingError,
    MalformedAnswerError,
    TargetError,
    UnauthorisedError,
    UnreachableError,
)
from provisioner.logs import clean
from provisioner.model.outcome import Permanent, Temporary, Unauthorised, Unclear

_EXCERPT = 300
_LOOKED_AT = 50 * _EXCERPT

Failure = Permanent | Temporary | Unauthorised | Unclear


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that arrived whole: status, headers (names in lower case), parsed JSON."""

    status: int
    headers: Mapping[str, str]
    json: Any


class _NotJson:
    """Marks a body that is no JSON; an answer may still be good without one."""


NOT_JSON = _NotJson()


def parsed(content: bytes | bytearray) -> Any:
    """The JSON of a body, `NOT_JSON` if it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return NOT_JSON


_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_value = msgspec.json.decode


def parsed_row_by_row(content: bytes | bytearray) -> Any:
    """The same of a long listing: an object whose lists are read row by row, so that other threads get on meanwhile.

    What is of another shape, or what only Python's reader takes, is read whole.
    """
    try:
        return {
            name: [_value(row) for row in _rows(part)] if memoryview(part)[0] == ord("[") else _value(part)
            for name, part in _parts(content).items()
        }
    except (msgspec.DecodeError, RecursionError):
        return parsed(content)


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read Retry-After, which is either seconds or a date (RFC 9110, 10.2.3); None if absent or nonsense."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
        return seconds if 0 <= seconds < 86_400 * 7 else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def sentence(body: Any) -> str:
    """What an error body says, as one line; the common shapes of the four vendors and of most others."""
    if isinstance(body, dict):
        for key in ("message", "error", "errors", "error_reason", "detail", "reason"):
            if body.get(key):
                return _clip(body[key])
        return _clip(body) if body else ""
    return _clip(body) if isinstance(body, (str, list)) and body else ""


def _clip(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # What is far beyond the excerpt is not looked at: an answer may be as long as a listing
    text = text[:_LOOKED_AT]
    # It is kept with the operation and shown for weeks; some vendors repeat what they were sent, credentials included
    text = clean(" ".join(text.split()))
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


#: Status → what it means, where no vendor says otherwise; ranges are handled below.
_MEANING: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "the request was refused as incomplete"),
    403: ("forbidden", "the request was forbidden"),
    404: ("not_found", "nothing is there"),
    405: ("method_not_allowed", "the method is not allowed there"),
    406: ("not_acceptable", "the format was refused"),
    409: ("conflict", "it conflicts with what is there"),
    410: ("gone", "it is gone"),
    413: ("too_large", "the request was too large"),
    415: ("unsupported_type", "the content type was refused"),
    418: ("refused", "the request was refused"),
    422: ("invalid", "the record was refused as invalid"),
}


#: What to do about the codes that any target may use; a kind's own codes have their advice in `Target.advice`.
ADVICE: Mapping[str, str] = {
    code: advice
    for advice, codes in {
        "Fix the credentials of this target in the settings, then resume it.": "unauthorised",
        "Check that the target's address is right and that it can be reached from the workers.": "unreachable",
        "Check oauth.token_url and the network. It is tried again by itself.": "token_unavailable",
        "The target refused a value. Fix it in the roster or the mapping, then sync again.": (
            "invalid bad_request row_refused too_large cannot_be_empty"
        ),
        "The mapping gives no value that the target requires. Fix it, then sync again.": "missing_required incomplete",
        "Our credentials may not do this. Ask for that right in the target, then retry.": "forbidden",
        "The target has this name or email already. Look for the other account, then retry.": "conflict taken",
        "There is no account to do this for. The next run finds out what is right.": "no_account",
        "The account is gone in the target. The next run finds out and makes it again if it is wanted.": (
            "gone not_found"
        ),
        "Check base_url: the target answers from another address.": "redirected",
        "The target, or what is in front of it, does not answer as its vendor says. Check base_url, then ask the "
        "vendor.": (
            "malformed_answer answer_too_large method_not_allowed not_acceptable unsupported_type refused unexpected"
        ),
        "The target takes nothing of this kind. Take it out of the settings.": "unsupported",
        "The target is not ready. It is tried again by itself.": "unavailable",
        "The target asked us to slow down. It goes on by itself.": "rate_limited",
        "The target stumbled. It is tried again by itself; if it goes on, ask the vendor.": (
            "server_error connection_lost deadline"
        ),
    }.items()
    for code in codes.split()
}


def classify(answer: Answer, *, unauthorised: Collection[int] = (401,)) -> Failure | None:
    """What an answer's status means; None for success. The one table by which everything is judged.

    408, 425, 429 and 503 were not carried out, so they are temporary; any other 5xx may have been, at least in part,
    so it is unclear; a redirect is permanent, since following it could carry credentials elsewhere.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    said = sentence(answer.json)
    tail = f": {said}" if said else ""
    if status in unauthorised:
        return Unauthorised(f"credentials refused ({status}){tail}")
    if status == 429:
        return Temporary(
            "rate_limited", f"too many requests (429){tail}", retry_after_seconds(answer.headers), limited=True
        )
    if status in (408, 425, 503):
        return Temporary(
            "unavailable", f"temporarily unavailable ({status}){tail}", retry_after_seconds(answer.headers)
        )
    if status >= 500:
        return Unclear("server_error", f"the target failed ({status}){tail}")
    if 300 <= status < 400:
        return Permanent("redirected", f"it answers with a redirect ({status}), which is never followed")
    code, meaning = _MEANING.get(status, ("refused", "the request was refused"))
    return Permanent(code, f"{meaning} ({status}){tail}")


def not_kept(names: Collection[str]) -> str | None:
    """The remark about an accepted change of which the answer itself shows other values; None for no names."""
    return f"accepted, but the answer shows another {', '.join(sorted(names))}" if names else None


def as_error(target: str, path: str, failure: Failure) -> TargetError:
    """What a failed read means for whoever wanted to know.

    Args:
        path: as it may be shown.
    """
    text = f"GET {path}: {failure.message}."
    if isinstance(failure, Unauthorised):
        return UnauthorisedError(target, text, remedy="Check the target's credentials.")
    if isinstance(failure, Temporary) and failure.unreached:
        return UnreachableError(target, text, remedy="Check base_url and the network.")
    if isinstance(failure, (Temporary, Unclear)):
        return UnreachableError(target, text, remedy="The next run tries again.")
    return TargetError(target, text)


def as_outcome(error: TargetError) -> Failure:
    """What a failed read means for an operation of which nothing has been sent yet."""
    if isinstance(error, UnauthorisedError):
        return Unauthorised(error.message)
    if isinstance(error, (UnreachableError, MalformedAnswerError, ListingError)):
        return Temporary(error.code, error.message, unreached=isinstance(error, UnreachableError))
    return Permanent(error.code, error.message)
