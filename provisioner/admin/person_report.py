"""`why`: everything that is known about one person, from the roster's row to the last outcome. Reads only."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from provisioner.admin.leaver_receipts import receipt
from provisioner.admin.worklists import standing_rejections
from provisioner.errors import UsageError
from provisioner.model.account import LedgerEntry
from provisioner.model.attributes import fold, natural
from provisioner.model.operation_document import RunOperation
from provisioner.model.person_report import AttributeReport, LinkDocument, PersonInTarget, PersonReport, PersonRow
from provisioner.planning.compiled import compile_target
from provisioner.planning.desired import REASON, STANDING, desired_accounts
from provisioner.planning.leaver_steps import days_of_leaving
from provisioner.planning.rewrite_loops import loops_of
from provisioner.planning.routes import known_by
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, TargetSpec
from provisioner.runs.known_as import known_as
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import roster_columns
from provisioner.store.runs.documents import moment

#: Finished operations that are listed for one person, more than Redis keeps of anybody.
_HISTORY: Final = 500
_OWN = (
    "_key",
    "_line",
    "_verdict",
    "_row_verdict",
    "_starts",
    "_ends",
    "_absent_snapshots",
    "_absent_since",
    "_digest",
)


async def story(dep: Deployment, key: str) -> PersonReport:
    """One person's story as JSON.

    ``roster`` is the row with its line, verdict and absence; ``targets`` has per target the scope's verdict, the link
    and how it came about, and each attribute with its expression, what is desired, observed and acknowledged;
    ``facts`` what webhooks and reading back reported, by target; ``operations`` the open and the finished ones, newest
    first, with every try that failed; ``runs`` what is kept of their runs; ``heard`` the webhooks about the person;
    ``receipt`` what became of a leaver's accounts, null for who never left; ``rejections`` what somebody said no to.

    Raises:
        UsageError: nobody of that key is known.
    """
    people = await dep.frames.known()
    key = await known_as(dep, key, people)
    row = people.filter(pl.col("_key") == key) if people is not None else None
    links = {name: await dep.ledger.entry(name, key) for name in dep.targets}
    operations = await _operations(dep, key)
    known = row is not None and row.height > 0
    if not known and not any(links.values()) and not operations and not await _listed(dep, key):
        raise UsageError(
            f"There is no person {key!r}: neither in the last clean roster nor in the ledger.",
            remedy=f"Use a value of the column {dep.settings.roster.key_name!r}; only a run brings the roster here.",
        )
    facts = await dep.frames.roster()
    reported_facts = (await dep.inbound.facts([key])).get(key, {})
    labels = await dep.frames.labels([key]) if dep.settings.roster.label is not None else {}
    report: PersonReport = {
        "person": key,
        "roster": _roster(row, facts) if row is not None and known else None,
        "targets": {
            name: await person_in_target(dep, name, key, row if known else None, links[name]) for name in dep.targets
        },
        "facts": {target: known_by(reported) for target, reported in reported_facts.items()},
        "operations": operations,
        "runs": await dep.runs.heads(list(dict.fromkeys(operation["run"] for operation in operations))),
        "heard": await dep.person_events.of(key),
        "receipt": await receipt(dep, key),
        "rejections": await standing_rejections(dep, tuple(dep.targets), key),
    }
    return {**report, "label": labels.get(key)} if dep.settings.roster.label is not None else report


async def _listed(dep: Deployment, key: str) -> bool:
    """Whether the newest plans name a person who is in no clean roster yet."""
    for target in dep.targets:
        for name in ("todos", "conflicts"):
            if any(one["person"] == key for one in await dep.health.list(target, name)):
                return True
    return False


def _roster(row: pl.DataFrame, facts: dict[str, bytes]) -> PersonRow:
    found = row.row(0, named=True)
    since = found.get("_absent_since")
    return {
        "file": facts.get("name", b"").decode() or None,
        "digest": facts.get("digest", b"").decode() or None,
        "taken_at": moment(float(facts["taken"])) if "taken" in facts else None,
        "line": found["_line"],
        "verdict": found["_verdict"],
        "starts": found["_starts"].isoformat() if found["_starts"] else None,
        "ends": found["_ends"].isoformat() if found["_ends"] else None,
        "absent_snapshots": found.get("_absent_snapshots", 0),
        "absent_since": since.isoformat() if since else None,
        "row": {name: value for name, value in found.items() if name not in _OWN},
    }


async def person_in_target(
    dep: Deployment,
    name: str,
    key: str,
    row: pl.DataFrame | None,
    entry: LedgerEntry | None,
    *,
    spec: TargetSpec | None = None,
) -> PersonInTarget:
    """One person in one target: what is desired, observed and acknowledged.

    Args:
        row: of the last clean roster; None: they are not in it.
        entry: theirs in the ledger; None: there is no link.
        spec: the target with another mapping than the settings have.

    Raises:
        ConfigurationError: an expression of that mapping is wrong.
    """
    spec = spec or dep.specs[name]
    wanted: dict[str, str | None] = {}
    standing, reason = None, None
    if row is not None:
        today, today_utc = await dep.clock.today()
        ends = dep.settings.roster.ends is not None
        compiled = compile_target(spec, roster_columns(row.columns))
        ledger = await dep.ledger.frame(name, (), [key])
        left = days_of_leaving(ledger, await dep.receipts.since(name), dep.settings.zone)
        desired = desired_accounts(spec, compiled, row, today=today, today_utc=today_utc, ends=ends, left=left)
        found = desired.frame.row(0, named=True)
        standing, reason = found[STANDING], found[REASON]
        wanted = {column[2:]: value for column, value in found.items() if column.startswith("w:")}
    remembered = await dep.frames.remembered(name)
    observed: dict[str, Any] | None = None
    if remembered is not None and entry is not None:
        mine = remembered[0].filter(pl.col(ACCOUNT) == entry.account)
        observed = mine.row(0, named=True) if mine.height else None
    health = await dep.health.of(name)
    todos = [one["message"] for one in await dep.health.list(name, "todos") if one["person"] == key]
    conflicts = [one["message"] for one in await dep.health.list(name, "conflicts") if one["person"] == key]
    return {
        "standing": standing,
        "reason": reason,
        "scope": spec.settings.scope,
        "health": health.status or "healthy",
        "link": _link(entry),
        "untouchable": observed.get(UNTOUCHABLE) if observed else None,
        "seen_at": moment(remembered[1].seen) if remembered is not None else None,
        "attributes": _attributes(spec, standing, wanted, observed, entry),
        "todos": todos,
        "conflicts": conflicts,
    }


def _link(entry: LedgerEntry | None) -> LinkDocument | None:
    if entry is None:
        return None
    return {
        "account": entry.account,
        "state": entry.state,
        "matched": entry.matched,
        "created_by_us": entry.created,
        "recorded_at": moment(entry.recorded),
        "enrolled": list(entry.enrolled),
        "unkept": {name: moment(loop.since) for name, loop in loops_of(entry.loops).items()},
    }


def _attributes(
    spec: TargetSpec,
    standing: str | None,
    wanted: dict[str, str | None],
    observed: dict[str, Any] | None,
    entry: LedgerEntry | None,
) -> list[AttributeReport]:
    rules = spec.settings.leaver if standing == "leaver" else spec.settings.attributes
    rows: list[AttributeReport] = []
    for attribute, rule in rules.items():
        type_ = spec.attributes[attribute].type
        have = (observed or {}).get(attribute)
        acknowledged = entry.values.get(attribute) if entry else None
        desired = wanted.get(attribute)
        held = have if have is not None else acknowledged
        if rule.first_free and held:
            # What was chosen once is what the mapping wants from then on
            desired = held
        same = desired is None or fold(desired or None, type_) == fold(held or None, type_)
        rows.append(
            {
                "attribute": attribute,
                "expression": rule.text,
                "authority": rule.authority,
                "desired": natural(desired, type_) if desired is not None else None,
                "observed": natural(have, type_),
                "acknowledged": natural(acknowledged or None, type_),
                "same": same,
            }
        )
    return rows


async def _operations(dep: Deployment, key: str) -> list[RunOperation]:
    found: dict[tuple[str, str, str], RunOperation] = {}
    for name in dep.specs:
        for document in await dep.runs.standing(name, key):
            found[(document["run"], name, document["id"])] = document
    for document in await dep.runs.history(key, _HISTORY):
        found.setdefault((document["run"], document["target"], document["id"]), document)
    return sorted(found.values(), key=lambda document: document["changed_at"] or "", reverse=True)
