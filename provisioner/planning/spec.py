"""What the planner needs to know of a target, without knowing any vendor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.expressions.moments import UTC_ZONE
from provisioner.model.attributes import Attribute
from provisioner.planning.reviewed import Reviewed
from provisioner.settings import EnrolmentRule, TargetSettings


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One target as the planner sees it: its settings, and what its class declares.

    `attributes` are those of the catalogue and those that the mapping names. `shared` are the sets of which the kind
    says that others fill them too. What the rest means is said at the members of the same name in
    `provisioner.targets.capabilities`; each is empty where the target does not offer it. `zone` is the
    organisation's.
    """

    name: str
    settings: TargetSettings
    attributes: Mapping[str, Attribute]
    activity: str | None = None
    carried: tuple[str, ...] = ()
    ends_attribute: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    role_attribute: str | None = None
    enrolments: Sequence[EnrolmentRule] = ()
    bundled_enrolments: int = 0
    knowledge: Mapping[str, Attribute] = field(default_factory=dict)
    knowledge_key: tuple[str, ...] = ()
    knowledge_rules: Sequence[Mapping[str, str]] = ()
    zone: ZoneInfo = UTC_ZONE
    shared: frozenset[str] = frozenset()


#: Columns of an observed frame besides one text column per attribute; the last one may be missing.
ACCOUNT, UNTOUCHABLE, READ = "_account", "_untouchable", "_read"


@dataclass(frozen=True, slots=True)
class Observation:
    """Observed accounts of one target at one time.

    `frame` has `_account`, `_untouchable` and one canonical text column per attribute that was seen. `complete`: it
    holds every account; `asked`: it holds those of these people only, and is complete for them. When neither, the
    vendor cannot be listed and the ledger replaces the listing. `began` is when reading began, by Redis's clock. Where
    only what changed was read, the column `_read` tells when that was for each account (epoch seconds). `last` is the
    last one of everybody that was believed, `last_read` when it was read (epoch seconds), `shown` the accounts of it
    where no more is known. `doubt` says why there may be more accounts than it shows; `unread` are accounts of which it
    does not show whose they are, `deleted` those that were deleted.
    """

    frame: pl.DataFrame
    complete: bool
    began: float
    asked: frozenset[str] | None = None
    notes: tuple[str, ...] = ()
    last: pl.DataFrame | None = None
    last_read: float | None = None
    shown: pl.Series | None = None
    doubt: str | None = None
    unread: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()

    @property
    def listed(self) -> pl.Series | None:
        """The accounts that the last believed listing of everybody showed, None if nobody knows."""
        return self.shown if self.last is None else self.last[ACCOUNT]

    @property
    def authoritative(self) -> bool:
        """Whether an account that is not in it does not exist."""
        return self.complete or self.asked is not None


@dataclass(frozen=True, slots=True)
class Alike:
    """Why somebody may be another person under a new key: `old` are the keys of those whom they agree with, `sentence`
    says in what, and how a person settles it."""

    old: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Planning:
    """The circumstances of a plan.

    `now` is the moment and `today` its day in the organisation's time zone. `ends` tells whether the roster has a
    column of last days. `snapshot` is its digest. `removals_wait` is why removals must wait, if they must. `sent` is,
    by guard, what went out without approval within the window or waits to go out, and `gone_out` has ids of the
    former. `in_place` is, by guard, the part of `sent` that a plan for everybody leaves in place. `approved` are
    operation ids that someone released; `rejected` maps those that someone refused to the row they were refused for
    (None: whatever it is). `others` is how many linked accounts, not in leaver state, belong to people whom the plan
    is not about: guards measure by theirs too. `apart` are, by person, the accounts that were unlinked from them by
    hand. `decided` is, by guard, what the plan that this one continues holds. `unsettled` are people and sentences:
    what the ledger alone shows that only a person can settle. `alike` are people who may be somebody else under a new
    key, `newcomers` those of whom somebody said that they are not, and `returned` those who left under another key, to
    which this maps them. `unfamiliar` are leavers by a status that no clean roster held yet, with that status.
    `disputed` are accounts that somebody lays claim to whom the plan is not about. `reviewed` are the only operations
    that may come of it, None for all; `undo` is the run that it takes back, empty for none. `values` is how many
    members the sets of all linked accounts held, by the newest plan of everybody. `promised` are, by attribute that is
    chosen by `first_free` and by person, the values of accounts that are being made. `telling` are attributes by which
    a leaver's account is told from a member's. `perhaps` is, by set that no listing shows, what the account of a
    leaver may hold who was adopted after Redis had lost its data. `left` is, by person, the day on which they left, as
    far as it is known. `first_contact`: no plan about everybody stood on a believed listing yet; `overwriting` are
    people whose account, there before us, waited for an approval then.
    """

    now: datetime
    today: date
    ends: bool = False
    snapshot: str = ""
    removals_wait: str | None = None
    sent: Mapping[str, int] = field(default_factory=dict)
    gone_out: frozenset[str] = frozenset()
    in_place: Mapping[str, int] = field(default_factory=dict)
    approved: frozenset[str] = frozenset()
    rejected: Mapping[str, str | None] = field(default_factory=dict)
    others: int = 0
    apart: Mapping[str, Collection[str]] = field(default_factory=dict)
    decided: Mapping[str, int] = field(default_factory=dict)
    unsettled: tuple[tuple[str, str], ...] = ()
    alike: Mapping[str, Alike] = field(default_factory=dict)
    newcomers: frozenset[str] = frozenset()
    unfamiliar: Mapping[str, str] = field(default_factory=dict)
    returned: Mapping[str, str] = field(default_factory=dict)
    disputed: Mapping[str, str] = field(default_factory=dict)
    reviewed: Reviewed | None = None
    undo: str = ""
    values: int = 0
    left: Mapping[str, date] = field(default_factory=dict)
    first_contact: bool = False
    overwriting: frozenset[str] = frozenset()
    promised: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    telling: frozenset[str] = frozenset()
    perhaps: Mapping[str, Sequence[str]] = field(default_factory=dict)
