"""One pushed person's row, read before the push is answered: what is wrong with it is said to whoever pushes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from provisioner.errors import ConfigurationError, RosterError
from provisioner.model.pushed_person import PushedPerson
from provisioner.planning.spec import TargetSpec
from provisioner.roster import People, Reject, Source
from provisioner.roster.identity import fold_key
from provisioner.roster.pushed_rows import rows
from provisioner.runs.judged_roster import people_of
from provisioner.runtime.clock import day_in
from provisioner.settings import RosterSettings, Settings

log = structlog.get_logger(__name__)


class RefusedRowError(Exception):
    """A row that no run would believe; the sentence says why, and what to change."""


@dataclass(frozen=True, slots=True)
class KeyOf:
    """The key of a row, as it is written and as it is compared."""

    key: str
    fold: str


def key_of_row(settings: Settings, specs: Mapping[str, TargetSpec], person: PushedPerson, *, now: float) -> KeyOf:
    """The key of a pushed person, whose row is believed as a run would believe it.

    What needs other people or files is left to the run: look-ups of another table, and keys that two people have. Where
    the settings themselves do not fit the columns, the key alone is read, so that nothing that was pushed is lost.

    Args:
        now: epoch seconds.

    Raises:
        RefusedRowError: the row is not believed.
        ConfigurationError: not even its key can be read.
    """
    roster = settings.roster
    source = _source(person, settings)
    alone = all(one.values is not None for one in roster.lookups.values())
    try:
        if alone:
            return _believed(_people(specs, source, settings, roster, now))
    except (RosterError, ConfigurationError) as exc:
        # Each run says so, too
        log.error("settings_do_not_fit_pushed_people", error=exc.message)
    bare = roster.model_copy(
        update={"lookups": {}, "columns": {}, "employed": "TRUE", "exclude": "FALSE", "skip": "FALSE", "label": None}
    )
    bare = bare.model_copy(update={"pick": None, "starts": None, "ends": None, "previous_key": None, "same_person": ()})
    try:
        return _believed(_people({}, source, settings, bare, now))
    except RosterError as exc:
        raise ConfigurationError(
            f"roster.key ({roster.key}) does not fit the columns of pushed people: {exc.message}",
            remedy="Name columns of pushed people; docs/cookbook.md lists them.",
        ) from None


def _people(
    specs: Mapping[str, TargetSpec], source: Source, settings: Settings, roster: RosterSettings, now: float
) -> People:
    today, today_utc = day_in(settings.zone, now)
    people, _ = people_of(specs, source, roster, today, today_utc, settings.zone)
    return people


def _believed(people: People) -> KeyOf:
    """
    Raises:
        RefusedRowError: it is not believed.
    """
    if people.rejects:
        raise RefusedRowError(_sentence(people.rejects[0]))
    found = people.frame["_key"].to_list() or [one.key for one in people.unknown if one.key is not None]
    if not found:
        raise RefusedRowError("roster.skip says that this is no person.")
    return KeyOf(found[0], fold_key(found[0]))


def _sentence(reject: Reject) -> str:
    where = f"{reject.column}: " if reject.column else ""
    value = f"{reject.value!r} " if reject.value is not None else ""
    return f"The row of this person is not believed: {where}{value}{reject.reason}."


def _source(person: PushedPerson, settings: Settings) -> Source:
    created = datetime.fromtimestamp(person.created, UTC).date().isoformat()
    content = rows([replace(person, previous="")], settings.roster, created={person.id: created})
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Source("the person pushed", content, digest, None, digest)
