"""Every key that is kept in Redis: its name, type, meaning, lifetime and whose data it holds, in one table.

A key with parts is called to get its name, ``ledger(target)``; one without parts is its name. The page
`docs/redis-keys.md`, `backup`, `forget` and the tests read `TABLE`. A key that is missing here does not exist:
no other module spells a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

PREFIX: Final = "provisioner:"

#: Redis's types; ``any`` where a key takes the place of others.
Type = Literal["STRING", "HASH", "LIST", "SET", "ZSET", "STREAM", "any"]

_PART: Final = re.compile(r"<[a-z ]+>")
#: Lifetimes that several keys share.
_ALWAYS: Final = "always"
_SECONDS: Final = "seconds"
_OPERATIONS: Final = "`retention.operations`, 90 days"
_RUNS: Final = "`retention.runs`, 400 days"
_RUN_ENDS: Final = "until the run ends, a week at most"
_FORGOTTEN: Final = "until the person is forgotten"
_SENT: Final = "until it is sent"


@dataclass(frozen=True, slots=True)
class Key:
    """One kind of key.

    Attributes:
        template: its name without `PREFIX`; a part in angle brackets is given when it is called.
        type: Redis's type.
        meaning: what it holds.
        lifetime: for how long.
        personal: what of a person is in it; empty where it names nobody of the roster.
        backup: whether a backup holds it. What it does not hold is read or planned again.
    """

    template: str
    type: Type
    meaning: str
    lifetime: str
    personal: str = ""
    backup: bool = False
    _form: str = field(init=False, repr=False, compare=False)
    _parts: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_form", PREFIX + _PART.sub("{}", self.template))
        object.__setattr__(self, "_parts", len(_PART.findall(self.template)))

    def __call__(self, *parts: str | int) -> str:
        """The name of one key, in the order of the template's parts.

        Raises:
            TypeError: the template has another number of parts.
        """
        if len(parts) != self._parts:
            raise TypeError(f"{self.template} takes {self._parts} parts, not {len(parts)}")
        return self._form.format(*parts)

    @property
    def pattern(self) -> str:
        """A glob that matches every key of this kind, for SCAN."""
        return self._form.replace("{}", "*")

    def part_of(self, name: bytes | str) -> str:
        """The last part of a key's name, where the template ends with one.

        Raises:
            ValueError: the name is of another kind.
        """
        text = name.decode() if isinstance(name, bytes) else name
        found = re.fullmatch(".+".join(map(re.escape, self._form.split("{}")[:-1])) + "(.+)", text)
        if found is None:
            raise ValueError(f"{text} is no key of the kind {self.template}")
        return found[1]


_table: list[Key] = []


def _key(template: str, type_: Type, meaning: str, lifetime: str, *, personal: str = "", backup: bool = False) -> Key:
    key = Key(template, type_, meaning, lifetime, personal, backup)
    _table.append(key)
    return key


def _name(template: str, type_: Type, meaning: str, lifetime: str, *, personal: str = "", backup: bool = False) -> str:
    return _key(template, type_, meaning, lifetime, personal=personal, backup=backup)()


# The layout, and this server
SCHEMA: Final = _name("schema", "STRING", "version of this layout", _ALWAYS)
MARK: Final = _name("mark", "HASH", "distinguishes an empty Redis from one that never held anything", _ALWAYS)
SWEPT: Final = _name("swept", "STRING", "set until history is to be trimmed again", "minutes")
TRIMMED: Final = _name("trimmed", "STRING", "up to which creation of runs operations were trimmed", _ALWAYS)

# Runs and their operations
RUNS: Final = _name("runs", "ZSET", "runs by time of creation", _RUNS)
run: Final = _key(
    "run:<run>", "HASH", "one run: trigger, status, times, roster", _RUNS, personal="the keys that were asked for"
)
run_target: Final = _key(
    "run:<run>:t:<target>", "HASH", "its part for one target: figures, and counters n:<status>:<kind>", _RUNS
)
run_operations: Final = _key(
    "run:<run>:ops:<target>", "ZSET", "operation ids in the order of the plan", _OPERATIONS, personal="digests"
)
operation: Final = _key(
    "run:<run>:op:<target>:<id>",
    "HASH",
    "one operation: document, status, attempts, error",
    _OPERATIONS,
    personal="key, account, values before and after",
)
stage: Final = _key(
    "run:<run>:stage:<target>",
    "LIST",
    "the plan that is being installed, in parts",
    "minutes",
    personal="operations, whole",
)
run_by_status: Final = _key(
    "run:<run>:by:<target>:<status>",
    "ZSET",
    "its operations that are held, failed, waiting or rejected",
    _OPERATIONS,
    personal="digests",
)
run_again: Final = _key("run:<run>:again:<target>", "SET", "people whom it plans again", _RUNS, personal="the key")
run_behind: Final = _key("run:<run>:behind:<target>", "SET", "what overtook its plan", _RUNS, personal="digests")
run_put_off: Final = _key(
    "run:<run>:put_off:<target>", "SET", "people whose leave something newer took", _RUNS, personal="the key"
)
put_off: Final = _key("put_off:<target>", "SET", "runs of which something newer took a leave", _RUNS)
OUTDATED: Final = _name("outdated", "SET", "runs of which a newer plan took something", "minutes")
OVERTAKEN: Final = _name("overtaken", "SET", "runs and targets with people to be planned again", _RUNS)
rejects: Final = _key(
    "run:<run>:rejects",
    "STRING",
    "rejected rows, compressed",
    _RUNS,
    personal="of rejected rows the key and the reason",
)
left_out: Final = _key(
    "run:<run>:left_out",
    "HASH",
    "target → operations that it was asked to send and does not, with the reasons; compressed",
    _RUNS,
    personal="of such operations the key, the kind and the reason",
)
reviewed: Final = _key(
    "reviewed:<digest>",
    "STRING",
    "a plan for review: ids of its operations, compressed",
    "`retention.plans`, 30 days",
    personal="keys and accounts of its operations",
)
run_people: Final = _key(
    "run:<run>:people", "STRING", "the people that it plans from, columnar", _RUN_ENDS, personal="their rows, whole"
)
run_content: Final = _key(
    "run:<run>:content", "STRING", "the roster that it brought along", _RUN_ENDS, personal="the file, whole"
)
run_beginning: Final = _key("run:<run>:beginning", "STRING", "who reads the roster for it now", _SECONDS)

# The queue of each target
queued: Final = _key("q:<target>", "ZSET", "operations that are ready, by urgency", _SENT, personal="digests")
parked: Final = _key("parked:<target>", "ZSET", "operations that wait, by due time", _SENT, personal="digests")
leases: Final = _key("leases:<target>", "ZSET", "claimed operations, by expiry of the lease", _SENT, personal="digests")
claim: Final = _key(
    "claim:<target>:<token>", "STRING", "what a claim took, should its answer be lost", _SECONDS, personal="digests"
)
slots: Final = _key(
    "slots:<target>", "HASH", "person and slot → the operation that is newest there", _SENT, personal="the key"
)
installing: Final = _key(
    "slots:installing:<target>", "ZSET", "runs whose plan for everybody is being installed", "minutes"
)
fresh_slots: Final = _key(
    "slots:fresh:<target>", "SET", "slots that were filled while a plan was installed", "minutes", personal="the key"
)
names: Final = _key(
    "names:<target>",
    "HASH",
    "attribute and value, such as a user name → the create that chose it for somebody",
    "until the account is made and a later plan knows it, or the create is over",
    personal="the key, and the value",
)
looked: Final = _key(
    "looked:<target>",
    "ZSET",
    "people about whom a plan about some was installed, by when its observation began",
    "until a newer plan about everybody is installed",
    personal="the key",
)
rostered: Final = _key(
    "rostered:<target>",
    "ZSET",
    "people about whom a plan about some was installed, by when its roster was read",
    "until a plan about everybody from a later roster is installed",
    personal="the key",
)
coming: Final = _key(
    "run:<run>:coming:<target>:<guard>",
    "SET",
    "people of a plan whose change counts for a guard and is not installed yet",
    "minutes",
    personal="the key",
)
added: Final = _key(
    "added:<target>", "ZSET", "what was queued once and for ever, by time", "a month", personal="digests", backup=True
)
leavers: Final = _key(
    "leavers:<target>",
    "ZSET",
    "people who leave and whose ledger entry does not say that they left, by since when",
    "until it does, or they do not leave any more",
    personal="the key",
    backup=True,
)

# What is known of each target
ledger: Final = _key(
    "ledger:<target>",
    "HASH",
    "person → link and what was acknowledged",
    _FORGOTTEN,
    personal="the account, what the target acknowledged, enrolments",
    backup=True,
)
ORIGINS: Final = _name(
    "origins",
    "HASH",
    "target → kind, address and account of its product, and what people are known by",
    _ALWAYS,
    backup=True,
)
unlinked: Final = _key(
    "unlinked:<target>",
    "HASH",
    "person → accounts that were unlinked from them by hand",
    _FORGOTTEN,
    personal="the key, and accounts",
    backup=True,
)
UNREAD: Final = _name(
    "unread",
    "SET",
    "targets that no run about everybody has read: nobody knows whether a leaver has an account there",
    "until one has",
    backup=True,
)

observed: Final = _key(
    "observed:<target>",
    "STRING",
    "observed accounts, columnar",
    "until the next listing",
    personal="accounts as last listed",
)
reading: Final = _key("reading:<target>", "HASH", "when the accounts were read, in full and at all", _ALWAYS)
lists: Final = _key(
    "lists:<target>",
    "HASH",
    "conflicts, to-dos, drift, orphans of the newest plan; whose account it would overwrite at first contact",
    "until the next plan",
    personal="keys and accounts; of drift the values that changed",
    backup=True,
)
answer_shapes: Final = _key(
    "shapes:<target>",
    "HASH",
    "fields, types and statuses of the answers by endpoint, and what changed in them lately; no values",
    "60 days after the last reading",
)
health: Final = _key(
    "target:<target>", "HASH", "health: paused, quarantine, failures and faults in a row", _ALWAYS, backup=True
)
outcomes: Final = _key("outcomes:<target>", "HASH", "good and bad outcomes of the last minutes", "minutes")
sent: Final = _key(
    "sent:<target>:<guard>",
    "ZSET",
    "what went out without approval, by time",
    "a month",
    personal="digests",
    backup=True,
)
unsent: Final = _key(
    "unsent:<target>:<guard>", "SET", "what is decided without approval and not sent", _SENT, personal="digests"
)
decisions: Final = _key(
    "decisions:<target>",
    "HASH",
    "operation id → approval or rejection",
    "until it expires",
    personal="the key, digests; who decided, and why",
    backup=True,
)
pace: Final = _key(
    "pace:<resource>", "ZSET", "the rate limit's permits; its other keys begin with this name", "minutes"
)

# The roster
PEOPLE: Final = _name(
    "roster:people",
    "STRING",
    "everybody's last clean row, columnar",
    "until a later clean roster replaces it; leavers stay",
    personal="the last clean row, whole",
    backup=True,
)
ROSTER: Final = _name(
    "roster:meta",
    "HASH",
    "digest, times and baseline of the newest snapshots",
    "until the next clean roster",
    personal="the key, and which columns had a value",
    backup=True,
)
PAST: Final = _name(
    "roster:past",
    "HASH",
    "day → when the last clean roster of that day was read, and its digest",
    "`retention.snapshots`, 14 days",
)
past_people: Final = _key(
    "roster:past:<day>",
    "STRING",
    "everybody's last clean row as it was on that day, columnar",
    "`retention.snapshots`, 14 days",
    personal="the row of that day, whole",
)
PUSHED: Final = _name(
    "roster:pushed",
    "HASH",
    "the file that was pushed by HTTP, and believed",
    "until the next one, or `roster --drop-push`",
    personal="the file, whole",
    backup=True,
)
PUSHED_WAITING: Final = _name(
    "roster:pushed:waiting",
    "HASH",
    "a later one that is degraded, until somebody accepts it",
    "until the next one, or `roster --drop-push`",
    personal="the file, whole",
    backup=True,
)
STATUSES: Final = _name(
    "roster:statuses",
    "SET",
    "column and text of each status by which clean rosters said who is employed",
    _ALWAYS,
    personal="texts of the columns that `employed` reads, of which there are at most 50",
    backup=True,
)
NEWCOMERS: Final = _name(
    "roster:newcomers",
    "HASH",
    "keys of whom somebody said that they belong to nobody who was known before",
    _FORGOTTEN,
    personal="the key; who said so",
    backup=True,
)

SCIM_PEOPLE: Final = _name(
    "roster:scim",
    "HASH",
    "id → a person whom somebody pushed over SCIM, deleted ones too",
    _FORGOTTEN,
    personal="the resource, whole",
    backup=True,
)
SCIM_LIVE: Final = _name(
    "roster:scim:live", "ZSET", "ids of those who were not deleted, by when they were first pushed", _FORGOTTEN
)
SCIM_INDEX: Final = _name(
    "roster:scim:index",
    "ZSET",
    "key, user name and external id of each, with the id",
    _FORGOTTEN,
    personal="key, user name, external id",
)
SCIM_FACTS: Final = _name(
    "roster:scim:meta",
    "HASH",
    "how often and when somebody was last pushed, since when all are known to be there",
    _ALWAYS,
    backup=True,
)
CHANGED: Final = _name(
    "roster:changed",
    "ZSET",
    "people who were pushed or named by a webhook and whose run is not asked for yet",
    _SECONDS,
    personal="the key",
)
WEBHOOKS_HEARD: Final = _name(
    "roster:webhooks", "ZSET", "ids of the webhooks that named changed people, by time", _OPERATIONS
)

# Who does what now
busy: Final = _key("busy:<target>", "STRING", "the run that observes and plans this target", _SECONDS)
waiting: Final = _key("waiting:<target>", "STRING", "the run that waits for it", "an hour")
doing: Final = _key("doing:<work>", "STRING", "who does what only one may do", _SECONDS)
seat: Final = _key("seat:<target>:<lane>:<number>", "STRING", "a process that delivers to this target", _SECONDS)
nudged: Final = _key("nudged:<work>", "STRING", "when the wake-up that is under way is due", "a minute")
FAULTS: Final = _name("faults", "SET", "works that failed unexpectedly of late", "an hour")
fault: Final = _key("fault:<work>", "HASH", "how often it failed unexpectedly in a row", "an hour")
tagging: Final = _key("tagging:<target>:<person>", "STRING", "their tags are being sent", _SECONDS, personal="the key")

# People
history: Final = _key(
    "history:<person>", "LIST", "the newest operations of a person", _OPERATIONS, personal="digests, under the key"
)
receipt: Final = _key(
    "receipt:<person>",
    "HASH",
    "target → the state of a leaver's leave there, and since when",
    f"{_RUNS}, or until all is finished",
    personal="what became of a leaver's accounts",
    backup=True,
)
RECEIPTS: Final = _name(
    "receipts", "ZSET", "people who have one, by its last change", _RUNS, personal="the key", backup=True
)
heard: Final = _key(
    "heard:<person>",
    "ZSET",
    "events from outside about a person, by when they came",
    f"{_RUNS} after the newest",
    personal="which webhooks came about them, and when",
)
facts: Final = _key(
    "facts:<person>",
    "HASH",
    "target and fact → what is known of a person apart from their accounts",
    _FORGOTTEN,
    personal="what webhooks and reading back said",
    backup=True,
)

# Events from outside, and webhooks that go out
INBOUND: Final = _name(
    "inbound", "STREAM", "events that are not handled yet", "until handled", personal="events of vendors, whole"
)
INBOUND_SEEN: Final = _name(
    "inbound:seen", "ZSET", "digests of events that came, by time", _OPERATIONS, personal="digests", backup=True
)
INBOUND_COUNTS: Final = _name("inbound:counts", "HASH", "target and event → how many came", _ALWAYS, backup=True)
INBOUND_ERRORS: Final = _name(
    "inbound:errors",
    "HASH",
    "stream id → why it could not be handled so far",
    "until handled",
    personal="the key, in a sentence",
)
INBOUND_LATER: Final = _name(
    "inbound:later", "ZSET", "events that wait, by when to look again", "until handled", personal="events, whole"
)
INBOUND_DEAD: Final = _name(
    "inbound:dead",
    "HASH",
    "stream id → an event that could not be handled",
    "until a person settles it",
    personal="events, whole",
    backup=True,
)
INBOUND_UNKNOWN: Final = _name(
    "inbound:unknown",
    "LIST",
    "events that the vendors' pages do not name, newest first",
    "until a person settles it",
    personal="events, whole",
)
READBACK: Final = _name("readback", "HASH", "target → where the last reading back ended", _ALWAYS, backup=True)
OUTBOX: Final = _name("outbox", "ZSET", "outgoing webhooks by due time", "until delivered", personal="digests")
OUTBOX_ITEMS: Final = _name(
    "outbox:items", "HASH", "id → an outgoing webhook", "until delivered", personal="webhooks, whole"
)
OUTBOX_SEEN: Final = _name(
    "outbox:seen",
    "ZSET",
    "ids of outgoing webhooks that were ever queued",
    _OPERATIONS,
    personal="digests",
    backup=True,
)
OUTBOX_DEAD: Final = _name(
    "outbox:dead",
    "HASH",
    "id → an outgoing webhook that nobody took",
    "until a person settles it",
    personal="webhooks, whole",
    backup=True,
)
WRITEBACK_DUE: Final = _name("writeback:due", "STRING", "the run after which the table is to be written", "minutes")

# Figures, notices, the audit trail, the page
TOTALS: Final = _name("totals", "HASH", "how many operations ever ended: <target>|<kind>|<status>", _ALWAYS)
tally: Final = _key("tally:<day>", "HASH", "the same by the hour, UTC: <hour>|<kind>|<status>", "100 days")
ENDED: Final = _name("ended", "HASH", "when runs last ended, and how long they took", _ALWAYS)
beat: Final = _key("beat:<entry>", "any", "the schedule, which redbeat keeps", _ALWAYS)
HEARTBEATS: Final = _name("heartbeats", "HASH", "sign of life → when beat or a worker last gave it", _ALWAYS)
WORKERS: Final = _name("workers", "ZSET", "worker processes by their last sign of life", "an hour")
NOTIFIED: Final = _name("notified", "HASH", "states of which somebody was notified", "until they end", backup=True)
notified_facts: Final = _key(
    "notified:<state>:<subject>", "SET", "what was notified of", "until it is over", personal="digests", backup=True
)
NOTICES: Final = _name("notices", "LIST", "notices that wait to be sent", "until delivered", personal="keys")
NOTICES_SENDING: Final = _name("notices:sending", "STRING", "who sends them now", _SECONDS)
AUDIT: Final = _name(
    "audit",
    "STREAM",
    "what people did",
    _FORGOTTEN,
    personal="who did what; keys of the people it was about",
    backup=True,
)
WEB_KEY: Final = _name("web:key", "STRING", "signs sessions", _ALWAYS)
WEB_PROXY: Final = _name(
    "web:proxy", "STRING", "the address of a proxy whose headers the web ignores", "an hour after the last one"
)
web_ended: Final = _key("web:ended:<session>", "STRING", "a session that ended", "hours")
web_signed_in: Final = _key(
    "web:signed_in:<session>",
    "STRING",
    "who signed in by OpenID Connect: subject, role and ID token",
    "as long as the session, 12 hours at most",
    personal="claims of whoever uses the page",
)
web_used: Final = _key("web:used:<digest>", "STRING", "a sign-in whose answer was taken", "minutes")
web_once: Final = _key("web:once:<digest>", "STRING", "an idempotency key and its answer", "a day")
web_tries: Final = _key("web:tries:<digest>", "STRING", "wrong tokens of one address", "minutes")

# Copies that take another key's place in one step
restoring: Final = _key(
    "restoring:<name>", "any", "a backup's key before it takes its place", "minutes", personal="as the key of that name"
)
AUDIT_REWRITTEN: Final = _name(
    "audit:anew", "STREAM", "the audit trail without a person who is forgotten", _SECONDS, personal="as `audit`"
)

TABLE: Final[tuple[Key, ...]] = tuple(_table)
_FIXED_IN_BACKUP: Final = frozenset(key.template for key in TABLE if key.backup and "<" not in key.template)
_BEGUN_IN_BACKUP: Final = tuple(key.template.partition("<")[0] for key in TABLE if key.backup and "<" in key.template)


def in_backup(name: str) -> bool:
    """Whether a backup holds the key of that name, which is given without `PREFIX`."""
    return name in _FIXED_IN_BACKUP or name.startswith(_BEGUN_IN_BACKUP)


def kind_of(name: bytes | str) -> Key | None:
    """The row of the table that a key in Redis belongs to: the most exact one; None if there is none."""
    text = name.decode() if isinstance(name, bytes) else name
    return next((key for expression, key in _expressions() if expression.fullmatch(text)), None)


@cache
def _expressions() -> tuple[tuple[re.Pattern[str], Key], ...]:
    """What the names of each row look like, the most exact first; made when a name is first looked up."""
    exact = sorted(TABLE, key=lambda key: len(_PART.sub("", key.template)), reverse=True)
    return tuple((re.compile(_expression(key)), key) for key in exact)


def _expression(key: Key) -> str:
    tail = "(?::.+)?" if key is pace else ""
    return ".+".join(map(re.escape, key.pattern.split("*"))) + tail
