"""`leaver`: what a leaver's account should hold, at once or in steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from provisioner.settings.attribute_rule import AttributeRule
from provisioner.settings.values import Duration

_DAY = 86400
_rules: TypeAdapter[dict[str, AttributeRule]] = TypeAdapter(dict[str, AttributeRule])
_duration: TypeAdapter[Any] = TypeAdapter(Duration)


@dataclass(frozen=True, slots=True)
class LeaverStep:
    """What is laid over the account, this many days `after` the day of leaving."""

    after: int
    rules: Mapping[str, AttributeRule]


class LeaverRules(dict[str, AttributeRule]):
    """All attributes that any step names, by the last of the steps that does; and the `steps`."""

    def __init__(self, steps: Iterable[LeaverStep]) -> None:
        self.steps = tuple(steps)
        super().__init__({name: rule for step in self.steps for name, rule in step.rules.items()})

    @staticmethod
    def to_settings(leaver: Mapping[str, AttributeRule]) -> Any:
        """The form in which settings have it."""
        dumped = [_rules.dump_python(dict(step.rules), by_alias=True) for step in steps_of(leaver)]
        if len(dumped) < 2:
            return dumped[0] if dumped else {}
        return [
            rules if not step.after else {"after": f"{step.after}d", **rules}
            for step, rules in zip(steps_of(leaver), dumped, strict=True)
        ]


def steps_of(leaver: Mapping[str, AttributeRule]) -> tuple[LeaverStep, ...]:
    """The steps of `leaver`; one at once, if it has no others."""
    found = leaver.steps if isinstance(leaver, LeaverRules) else ()
    return found or (LeaverStep(0, leaver),)


def read_leaver(value: Any, rules_of: Callable[[Any], dict[str, AttributeRule]]) -> dict[str, AttributeRule]:
    """`leaver` as the settings have it: a mapping, or a list of steps.

    Args:
        rules_of: reads a mapping.

    Raises:
        ValueError: a step is wrong.
    """
    if isinstance(value, LeaverRules):
        return value
    if not isinstance(value, (list, tuple)):
        return LeaverRules([LeaverStep(0, rules_of(value))])
    steps: list[LeaverStep] = []
    for number, one in enumerate(value, 1):
        where = f"step {number}"
        if not isinstance(one, Mapping):
            raise ValueError(f"{where}: write attributes, and `after` from the second one on")
        after = _after(one.get("after", "0s"), where)
        if number == 1 and after:
            raise ValueError(f"{where}: the first one is due at once, so it has no `after`")
        if number > 1 and after <= steps[-1].after:
            raise ValueError(f"{where}: `after` must be longer than that of the step before, {steps[-1].after}d")
        try:
            rules = _rules.validate_python({name: rule for name, rule in one.items() if name != "after"})
        except ValidationError as exc:
            first = exc.errors()[0]
            raise ValueError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if not rules:
            raise ValueError(f"{where}: it names no attribute")
        steps.append(LeaverStep(after, rules))
    if not steps:
        raise ValueError("a list needs a step")
    return LeaverRules(steps)


def _after(value: Any, where: str) -> int:
    try:
        seconds = _duration.validate_python(value).total_seconds()
    except ValidationError as exc:
        raise ValueError(f"{where}: after: {exc.errors()[0]['msg']}") from None
    if seconds % _DAY:
        raise ValueError(f"{where}: `after` counts whole days, such as 30d")
    return int(seconds // _DAY)
