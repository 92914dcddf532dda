"""An expression tried on one person's row: what it gives, and what it would change."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta


class TrialEffect(TypedDict):
    """What a value would do to one attribute of an account. `now` is what the settings' own expression gives."""

    standing: str | None
    account: str | None
    own_expression: str | None
    now: Any
    seen: Any
    written: Any
    changes: Annotated[bool, Meta(description="Whether the next sync would write it.")]
    message: str


class Trial(TypedDict):
    """An expression, tried on somebody's last clean row. `fault` says why it gives no `value`."""

    person: str
    label: NotRequired[str | None]
    row: dict[str, str | None]
    target: str | None
    attribute: str | None
    expression: str
    value: str | None
    fault: str | None
    remedy: str | None
    effect: TrialEffect | None
