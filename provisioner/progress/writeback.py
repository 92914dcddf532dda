"""The write-back table: what HR gets back, one row per person of the last clean roster.

The key column, the configured columns, and per target `<target>_account`, `_status`, `_outcome` and `_synced_at`. A
configured column is looked for in what was last observed, then in what the target acknowledged, then among the facts
that webhooks and reading back brought.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fsspec
import polars as pl
import structlog

from provisioner.errors import ConfigurationError, UsageError
from provisioner.planning.routes import known_by
from provisioner.planning.spec import ACCOUNT
from provisioner.progress.tables import written
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, named, note_in_run
from provisioner.settings import Settings
from provisioner.settings.nearest import nearest
from provisioner.settings.place import EXTRAS, path_of, scheme_of, shown
from provisioner.store.runs.documents import moment
from provisioner.store.runs.locks import Hold
from provisioner.store.runs.table_requests import TableRequestStore

log = structlog.get_logger(__name__)

#: Stores whose every writing replaces a whole object at once.
_WHOLE_OBJECTS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "memory"})
_MODE: Final = 0o640


@dataclass(frozen=True, slots=True)
class Exported:
    """`place` as operators may see it, how many `rows`, and whether it was `written`: not if it held the same."""

    place: str
    rows: int
    written: bool


async def export(dep: Deployment, url: str | None = None) -> Exported:
    """Write the table.

    Args:
        url: where to; `writeback.url` if None.

    Raises:
        UsageError: no place is given, or no clean roster has been read yet.
        ConfigurationError: a column names no target, or the place cannot be written to.
        StoreError: Redis does not answer.
    """
    place = url or dep.settings.writeback.url
    if not place:
        raise UsageError("There is no place for the write-back table.", remedy="Name a FILE, or set writeback.url.")
    where = "FILE" if url else "writeback.url"
    table = await table_of(dep)
    content = await asyncio.to_thread(written, table, path_of(place), where)
    changed = await asyncio.to_thread(_store, place, content, where)
    log.info("exported", count=table.height, written=changed)
    return Exported(shown(place), table.height, changed)


def check_columns(settings: Settings) -> None:
    """Check the configured columns and the place.

    Raises:
        ConfigurationError: a column is none of a target, or the place's ending says nothing.
    """
    for column, source in settings.writeback.columns.items():
        target, dot, attribute = source.partition(".")
        where = f"writeback.columns.{column}"
        if not dot or not attribute:
            raise ConfigurationError(f"{where}: {source!r} must be target.attribute, such as portal.user_name.")
        if target not in settings.targets:
            raise ConfigurationError(f"{where}: there is no target {target!r}{nearest(target, settings.targets)}.")
    if settings.writeback.url:
        written(pl.DataFrame({"": [""]}), path_of(settings.writeback.url), "writeback.url")


async def table_of(dep: Deployment) -> pl.DataFrame:
    """The table, ordered by key; all its columns are text.

    Raises:
        UsageError: no clean roster has been read yet.
        ConfigurationError: a column is none of a target.
    """
    check_columns(dep.settings)
    people = await dep.frames.known()
    if people is None:
        raise UsageError("No roster has been read yet.", remedy="`provisioner sync` first.")
    persons = sorted(people["_key"].to_list())
    outcomes = await dep.last_outcomes.of(tuple(dep.targets), persons)
    columns: dict[str, list[str | None]] = {dep.settings.roster.key_name: list(persons)}
    wanted = dep.settings.writeback.columns
    facts = await dep.inbound.facts(persons) if wanted else {}
    parts = {target: await _Part.read(dep, target, _names(wanted, target)) for target in dep.targets}
    for column, source in wanted.items():
        target, _, attribute = source.partition(".")
        part = parts.get(target)
        reported = {person: known_by(of.get(target, ())) for person, of in facts.items()} if part else {}
        columns[column] = [
            part.value(person, attribute, reported.get(person, {})) if part else None for person in persons
        ]
    for target, part in parts.items():
        columns[f"{target}_account"] = [part.accounts.get(person) for person in persons]
        columns[f"{target}_status"] = [part.status(person) for person in persons]
        columns[f"{target}_outcome"] = [outcomes.get((person, target)) for person in persons]
        columns[f"{target}_synced_at"] = [part.synced.get(person) for person in persons]
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _names(columns: Mapping[str, str], target: str) -> list[str]:
    parts = (source.partition(".") for source in columns.values())
    return [attribute for name, _, attribute in parts if name == target]


@dataclass(frozen=True, slots=True)
class _Part:
    """What is known of one target's accounts, by person."""

    accounts: Mapping[str, str]
    states: Mapping[str, str]
    synced: Mapping[str, str | None]
    acknowledged: Mapping[str, Mapping[str, str | None]]
    observed: Mapping[str, Mapping[str, str | None]]
    conflicts: frozenset[str]
    missing: frozenset[str]
    unusable: Mapping[str, str]

    @classmethod
    async def read(cls, dep: Deployment, target: str, names: Sequence[str]) -> _Part:
        """Read it; `names` are the attributes that columns ask for."""
        ledger = await dep.ledger.frame(target, names)
        rows = ledger.to_dicts()
        usable = {name: one.usable for name, one in dep.specs[target].attributes.items() if one.usable}
        stored = await dep.frames.observed(target) if names or usable else None
        observed: dict[str, Mapping[str, str | None]] = {}
        if stored is not None:
            shown = [name for name in dict.fromkeys(names) if name in stored.columns]
            observed = {row.pop(ACCOUNT): row for row in stored.select(ACCOUNT, *shown).to_dicts()}
        unusable: dict[str, str] = {}
        for name, good in usable.items() if stored is not None else ():
            if stored is not None and name in stored.columns:
                bad = stored.filter(pl.col(name).is_not_null(), ~pl.col(name).is_in(list(good)))
                unusable |= {account: value.lower() for account, value in bad.select(ACCOUNT, name).iter_rows()}
        conflicts = await dep.health.list(target, "conflicts")
        return cls(
            accounts={row["_person"]: row["_account"] for row in rows},
            states={row["_person"]: row["_state"] for row in rows},
            synced={row["_person"]: moment(row["_recorded"]) for row in rows},
            acknowledged={row["_person"]: {name: row[f"l:{name}"] or None for name in names} for row in rows},
            observed=observed,
            conflicts=frozenset(one["person"] for one in conflicts),
            missing=frozenset(str(one) for one in await dep.health.list(target, "missing")),
            unusable=unusable,
        )

    def value(self, person: str, attribute: str, reported: Mapping[str, str | None]) -> str | None:
        """The value of an attribute: the observed one, else the acknowledged one, else the reported one."""
        shown = self.observed.get(self.accounts.get(person, ""), {})
        if attribute in shown:
            return shown[attribute]
        return self.acknowledged.get(person, {}).get(attribute) or reported.get(attribute)

    def status(self, person: str) -> str:
        """``active``, ``left``, ``missing`` (its account is gone), ``conflict`` or ``none``; instead of ``active`` the
        vendor's own word, in lower case, where its user cannot use the account (such as ``waitlist``)."""
        if person in self.conflicts:
            return "conflict"
        if person not in self.accounts:
            return "none"
        if person in self.missing:
            return "missing"
        state = self.states[person]
        return self.unusable.get(self.accounts[person], state) if state == "active" else state


def _store(url: str, content: bytes, where: str) -> bool:
    scheme = scheme_of(url)
    if scheme == "file":
        return _store_local(Path(path_of(url)), content, where)
    if scheme in ("http", "https"):
        raise ConfigurationError(f"{where}: nothing can be written to {scheme}://.", remedy="Use a path, sftp or s3.")
    try:
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError:
        remedy = f"Install provisioner[{EXTRAS.get(scheme, scheme)}]."
        raise ConfigurationError(f"{where}: writing {scheme}:// needs another package.", remedy=remedy) from None
    except Exception as exc:  # noqa: BLE001 - each file system raises errors of its own, which may repeat a password
        raise _unwritable(url, where, exc) from None
    try:
        with suppress(FileNotFoundError):
            if system.cat_file(path) == content:
                return False
        if scheme in _WHOLE_OBJECTS:
            system.pipe_file(path, content)
        else:
            folder, _, name = path.rpartition("/")
            fresh = f"{folder}/.{name}.{secrets.token_hex(4)}"
            system.pipe_file(fresh, content)
            system.mv(fresh, path)
    except Exception as exc:  # noqa: BLE001 - as above
        raise _unwritable(url, where, exc) from None
    return True


def _store_local(path: Path, content: bytes, where: str) -> bool:
    """Replace a file at once: whoever reads it sees the old or the new, never half of one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with suppress(FileNotFoundError):
            if path.read_bytes() == content:
                return False
        mode = path.stat().st_mode & 0o777 if path.exists() else _MODE
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("xb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as exc:
        raise _unwritable(str(path), where, exc) from exc
    return True


def _unwritable(url: str, where: str, error: BaseException) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: {shown(url)} cannot be written ({type(error).__name__}).",
        remedy="Check that the folder exists and may be written to.",
    )


async def ask_for_table(table_requests: TableRequestStore, settings: Settings, run: str) -> None:
    """Have the table written after a run, by whichever worker comes first."""
    if settings.writeback.url:
        await table_requests.ask(run)


async def write_due(dep: Deployment, hold: Hold | None = None) -> Exported | None:
    """Write the table if a run asked for it; None if none did.

    Args:
        hold: the lock under which it is written. Where it is lost, an older table may have come after a newer one, so
            the table stays due and is written again.

    Raises:
        ConfigurationError: it cannot be written; it is tried again after the next run.
    """
    run = await dep.table_requests.asked_by()
    if run is None or not dep.settings.writeback.url or await dep.frames.known() is None:
        return None
    try:
        return await export(dep)
    except ConfigurationError:
        raise
    except BaseException as exc:
        if not is_fault(exc, stopping=True):
            raise
        message = f"The write-back table after run {run} was not written: that ended with {named(exc)}."
        await note_in_run(dep.runs, run, message)
        raise
    finally:
        if hold is None or await hold.still():
            # A run that ended meanwhile has set another value, and is not forgotten
            await dep.table_requests.done(run)
        else:
            await dep.table_requests.ask_again(run)
