"""What can be set on one stand-in through the switchboard, and the check of a change."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class Options:
    """The options of every kind; each vendor adds its own.

    `rate_limit` requests are admitted per `rate_window` seconds and source address; over it the source is
    blocked for `block_seconds` (0: only what exceeds is refused). `rate_group`: instances that name the same
    group share one budget. `retry_after`: a 429 carries a `Retry-After` header. `latency_ms` delays every
    answer after the work was done, `listing_latency_ms` the listings of accounts besides.
    `clock_offset_seconds` shifts the vendor's clock. `api_key`: key or token; empty means the kind's default.
    `webhook_url`: where webhooks are sent; empty: nowhere. `listing_lag_seconds`: listings show an account that was
    made through the API only so much later, look-ups at once. `forget_creates`: a new account is acknowledged and not
    kept. `stubborn`: field of the read form → what every account that a write names holds afterwards, whatever was
    sent and acknowledged.
    """

    rate_limit: int = 120
    rate_window: float = 60.0
    block_seconds: float = 0.0
    rate_group: str = ""
    retry_after: bool = False
    latency_ms: float = 0.0
    listing_latency_ms: float = 0.0
    clock_offset_seconds: float = 0.0
    api_key: str = ""
    webhook_url: str = ""
    listing_lag_seconds: float = 0.0
    forget_creates: bool = False
    stubborn: dict[str, Any] = field(default_factory=dict)


OptionsT = TypeVar("OptionsT", bound=Options)


def changed(options: OptionsT, changes: Mapping[str, Any]) -> OptionsT:
    """The options with the changes laid over them.

    Raises `ValueError` for an unknown name or a value of another type than the option's present one.
    """
    known = {item.name for item in fields(options)}
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"unknown option {name!r}; known: {', '.join(sorted(known))}")
        present = getattr(options, name)
        checked[name] = _of_type(name, value, type(present))
    return replace(options, **checked)


def _of_type(name: str, value: Any, wanted: type) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is tuple and isinstance(value, list):
        return tuple(value)
    if type(value) is not wanted:
        raise ValueError(f"option {name!r} takes a {wanted.__name__}, not {type(value).__name__}")
    return value
