"""Values that nobody else has, such as user names: of the candidates the first free one, for a new account. Pure.

A value is taken if any account shows it, or if the ledger or an account that is being made has it, whoever's that is.
Two values are the same as the target compares them. What was chosen for somebody stays theirs: while the account waits
to be made, and when an account that is gone is made again. The choice depends on no order of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import polars as pl

from provisioner.model.attributes import Attribute, fold
from provisioner.planning.claims import folded
from provisioner.planning.compiled import candidate_columns
from provisioner.planning.desired import MEMBER, PERSON, STANDING
from provisioner.planning.spec import ACCOUNT, Observation, Planning, TargetSpec

#: Stands for an owner who is unknown, or for several.
_SOMEBODY: Final = None


@dataclass(frozen=True, slots=True)
class Unnamed:
    """Somebody who gets no account, since no value can be chosen for them, and why."""

    person: str
    sentence: str


def chosen_attributes(spec: TargetSpec) -> tuple[str, ...]:
    """The attributes of a target that are chosen by `first_free`."""
    return tuple(name for name, rule in spec.settings.attributes.items() if rule.first_free)


def promises(spec: TargetSpec, after: Mapping[str, str | None]) -> dict[str, str]:
    """What a create keeps for its person until it is done: attribute and folded value, with the value as it is spelt.

    Args:
        after: the values of the new account.
    """
    found = {}
    for name in chosen_attributes(spec):
        value = after.get(name)
        if value:
            found[f"{name}\x1f{fold(value, spec.attributes[name].type)}"] = value
    return found


def names_wanted(spec: TargetSpec, desired: pl.DataFrame, ledger: pl.DataFrame) -> bool:
    """Whether anybody may get an account for which something is to be chosen.

    Args:
        desired: the desired frame; `ledger` has the `_person` of everybody in it who has a link.
    """
    if not chosen_attributes(spec):
        return False
    return bool(desired.filter(pl.col(STANDING) == MEMBER).join(ledger, on=PERSON, how="anti").height)


def with_free_values(
    spec: TargetSpec, creates: pl.DataFrame, observation: Observation, ledger: pl.DataFrame, circumstances: Planning
) -> tuple[pl.DataFrame, list[Unnamed]]:
    """Choose for everybody who gets an account.

    Args:
        creates: rows of the desired frame that have no account.
        ledger: see `plan_target`.

    Returns:
        The rows with what was chosen, without those for whom nothing can be; and these.
    """
    unnamed: list[Unnamed] = []
    for name in chosen_attributes(spec):
        if not creates.height:
            break
        if not observation.complete:
            why = (
                f"cannot be created: {spec.name} did not show all of its accounts, so nobody knows which {name} is "
                "free. Where it can never list them, give the attribute `from` instead of `first_free`."
            )
            return creates.clear(), [*unnamed, *(Unnamed(person, why) for person in creates[PERSON])]
        choice = _Choice.of(spec, name, observation, ledger, circumstances)
        columns = candidate_columns(name, len(spec.settings.attributes[name].first_free))
        rows = creates.select(PERSON, *columns).sort(PERSON).iter_rows()
        values, refused = choice.of_everybody({person: candidates for person, *candidates in rows})
        unnamed += [Unnamed(person, f"cannot be created: {why}.") for person, why in refused.items()]
        creates = creates.filter(~pl.col(PERSON).is_in(list(refused))) if refused else creates
        chosen = [values.get(person) for person in creates[PERSON]]
        creates = creates.with_columns(pl.Series(f"w:{name}", chosen, dtype=pl.String))
    return creates, unnamed


@dataclass(slots=True)
class _Choice:
    """The choice of one attribute.

    `owners` has by folded value the person whose it is; `kept` has by person what was chosen for them before, and
    `promised` the part of it whose account was never made.
    """

    name: str
    attribute: Attribute
    owners: dict[str, str | None]
    kept: Mapping[str, str]
    promised: Mapping[str, str]
    _next: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, spec: TargetSpec, name: str, observation: Observation, ledger: pl.DataFrame, circumstances: Planning
    ) -> _Choice:
        """What is taken, by the accounts that are shown, by the ledger, and by accounts that are being made."""
        attribute = spec.attributes[name]
        promised = circumstances.promised.get(name, {})
        owners: dict[str, str | None] = {}
        kept: dict[str, str] = {}
        column = f"l:{name}"
        # An identifier may be what the account is addressed by
        accounts = [ACCOUNT] if attribute.identifier else []
        columns = [column, *accounts]
        for one in columns if column in ledger.columns else columns[1:]:
            held = ledger.select(PERSON, pl.col(one).alias("value"), folded(pl.col(one), attribute.type).alias("as"))
            for person, value, text in held.filter(pl.col("as").fill_null("") != "").iter_rows():
                owners[text] = person if owners.get(text, person) == person else _SOMEBODY
                if one == column:
                    kept[person] = value
        for person, value in promised.items():
            text = fold(value, attribute.type) or ""
            owners[text] = person if owners.get(text, person) == person else _SOMEBODY
        shown = [
            one for one in (name, *([ACCOUNT] if attribute.identifier else [])) if one in observation.frame.columns
        ]
        for one in shown:
            texts = observation.frame.select(folded(pl.col(one), attribute.type).drop_nulls()).to_series()
            owners.update(dict.fromkeys(texts.to_list(), _SOMEBODY))
        return cls(name, attribute, owners, kept, promised)

    def of_everybody(self, people: Mapping[str, Sequence[str | None]]) -> tuple[dict[str, str], dict[str, str]]:
        """What is chosen, and for whom nothing can be, with the reason.

        Args:
            people: the candidates of each, in the order in which people have the first choice.
        """
        values: dict[str, str] = {}
        refused: dict[str, str] = {}
        # First what is theirs already, so that nobody who comes later takes it
        for person, candidates in people.items():
            mine = self._own(person, candidates)
            if mine is not None:
                values[person] = mine
                self.owners[fold(mine, self.attribute.type) or ""] = person
        for person, candidates in people.items():
            if person in values:
                continue
            value, why = self._first_free(candidates)
            if why is not None:
                refused[person] = why
            elif value is not None:
                values[person] = value
                self.owners[fold(value, self.attribute.type) or ""] = person
        return values, refused

    def _own(self, person: str, candidates: Sequence[str | None]) -> str | None:
        for value in (self.promised.get(person), self.kept.get(person)):
            if value is None or self._fault(value) is not None:
                continue
            # What nobody ever had follows the row; what somebody had is theirs for ever
            wanted = value != self.promised.get(person) or self._comes_of(value, candidates)
            if wanted and self.owners.get(fold(value, self.attribute.type) or "", person) == person:
                return value
        return None

    def _comes_of(self, value: str, candidates: Sequence[str | None]) -> bool:
        """Whether a value is one of the candidates, or a numbered one."""
        text = fold(value, self.attribute.type)
        for candidate in candidates:
            if not candidate:
                continue
            if text == fold(candidate, self.attribute.type):
                return True
            local, at, domain = (fold(candidate, self.attribute.type) or "").rpartition("@")
            begin, end = (local, at + domain) if at else (domain, "")
            number = (text or "").removeprefix(begin).removesuffix(end)
            if number.isdecimal() and text == f"{begin}{number}{end}" and int(number) > 1:
                return True
        return False

    def _first_free(self, candidates: Sequence[str | None]) -> tuple[str | None, str | None]:
        """The value, or why there is none; neither where every candidate is empty."""
        faults = {one: self._fault(one) for one in candidates if one}
        good = [one for one, why in faults.items() if why is None]
        for one in good:
            if self._is_free(one):
                return one, None
        if not good:
            return None, next((why for why in faults.values()), None)
        last = good[-1]
        text = fold(last, self.attribute.type) or ""
        for number in count(self._next.get(text, 2)):
            value = numbered(last, number)
            why = self._fault(value)
            if why is not None:
                return None, f"no {self.name} is free, and {value} cannot be one: {why}"
            if self._is_free(value):
                # Whatever is taken stays taken within a plan
                self._next[text] = number + 1
                return value, None
        raise AssertionError("numbers do not end")

    def _is_free(self, value: str) -> bool:
        return (fold(value, self.attribute.type) or "") not in self.owners

    def _fault(self, value: str) -> str | None:
        why = self.attribute.fault(value) if self.attribute.fault is not None else None
        return why.rstrip(".") if why else None


def numbered(value: str, number: int) -> str:
    """A value with a number after it; of an address, after the part before the @."""
    local, at, domain = value.rpartition("@")
    return f"{local}{number}@{domain}" if at and local else f"{value}{number}"
