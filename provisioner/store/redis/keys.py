"""Every key that we keep in Redis, in one place.

::

    provisioner:schema                        version of this layout
    provisioner:mark                          HASH  by which an empty Redis is told from one that never held anything
    provisioner:swept                         STRING stands until history is to be trimmed again
    provisioner:trimmed                       STRING up to which creation of runs operations were trimmed
    provisioner:run:<run>                     HASH  one run: trigger, status, times, roster
    provisioner:run:<run>:t:<target>          HASH  its part for one target: figures, and counters n:<status>:<kind>
    provisioner:run:<run>:ops:<target>        ZSET  operation ids in the order of the plan
    provisioner:run:<run>:op:<target>:<id>    HASH  one operation: doc, status, attempts, error …
    provisioner:run:<run>:stage:<target>      LIST  what is being installed, in parts (short-lived)
    provisioner:run:<run>:by:<target>:<status> ZSET its operations that are held, failed, waiting or rejected
    provisioner:run:<run>:rejects             STRING rejected rows, compressed
    provisioner:runs                          ZSET  runs by time of creation
    provisioner:q:<target>                    ZSET  operations ready to go, by urgency
    provisioner:parked:<target>               ZSET  operations that wait, by due time
    provisioner:leases:<target>               ZSET  operations in a worker's hand, by expiry of the lease
    provisioner:slots:<target>                HASH  person and slot → the operation that stands for it now
    provisioner:slots:installing:<target>     ZSET  runs whose plan for everybody is being installed (short-lived)
    provisioner:slots:fresh:<target>          SET   slots in which something came to stand meanwhile (short-lived)
    provisioner:ledger:<target>               HASH  person → link and what was acknowledged
    provisioner:sent:<target>:<guard>         ZSET  what went out without approval, by time
    provisioner:decisions:<target>            HASH  operation id → approval or rejection
    provisioner:target:<target>               HASH  health: paused, quarantine, failures in a row
    provisioner:outcomes:<target>             HASH  good and bad outcomes of the last minutes
    provisioner:claim:<target>:<token>        STRING what a claim took, should its answer be lost (short-lived)
    provisioner:lists:<target>                HASH  conflicts, to-dos, drift, orphans of the newest plan
    provisioner:observed:<target>             STRING observed accounts, columnar and compressed
    provisioner:reading:<target>              HASH  when they were read, in full and at all, and from where
    provisioner:roster:people                 STRING everybody's last clean row, columnar and compressed
    provisioner:roster:meta                   HASH  digest, times and baseline of the newest snapshots
    provisioner:busy:<target>                 STRING the run that observes and plans this target now
    provisioner:waiting:<target>              STRING the run that waits for it
    provisioner:doing:<work>                  STRING who does what only one may do (short-lived)
    provisioner:nudged:<work>                 STRING when the nudge that is under way is due (short-lived)
    provisioner:history:<person>              LIST  the newest operations of a person
    provisioner:receipt:<person>              HASH  target → what stands of a leaver's leave there, and since when
    provisioner:receipts                      ZSET  persons who have one, by its last change
    provisioner:inbound                       STREAM events from outside that are not handled yet
    provisioner:inbound:seen                  ZSET  digests of events that came, by time
    provisioner:inbound:counts                HASH  target and event → how many came
    provisioner:inbound:errors                HASH  stream id → why it could not be handled so far
    provisioner:inbound:later                 ZSET  events that wait for something, by when to look again
    provisioner:inbound:dead                  HASH  stream id → an event that could not be handled
    provisioner:inbound:unknown               LIST  events that the vendors' pages do not name, newest first
    provisioner:heard:<person>                ZSET  events from outside about a person, by when they came
    provisioner:facts:<person>                HASH  target and fact → what is known of a person beside their accounts
    provisioner:added:<target>                ZSET  what was added to the queue once and for ever, by time
    provisioner:readback                      HASH  target → where the last reading back ended
    provisioner:tagging:<target>:<person>     STRING their tags are being sent (short-lived)
    provisioner:outbox                        ZSET  outgoing webhooks by due time
    provisioner:outbox:items                  HASH  id → an outgoing webhook
    provisioner:outbox:seen                   ZSET  ids of outgoing webhooks that were ever put there, by time
    provisioner:outbox:dead                   HASH  id → an outgoing webhook that nobody took
    provisioner:writeback:due                 STRING the run after which the table is to be written
    provisioner:leavers:<target>              ZSET  persons whose leave is not finished, by when it was first planned
    provisioner:totals                        HASH  how many operations ever ended: <target>|<kind>|<status>
    provisioner:tally:<day since 1970>        HASH  the same by the hour, UTC: <hour>|<kind>|<status>
    provisioner:ended                         HASH  when runs last ended, and how long they took
    provisioner:notified                      HASH  states of which somebody was told
    provisioner:notices                       LIST  notices that wait to be sent
    provisioner:audit                         STREAM what people did
    provisioner:web:key                       STRING by which sessions are signed
    provisioner:web:…                         sessions that ended, wrong tokens, idempotency keys (short-lived)
    provisioner:pace:…                        the limiter's own
"""

from __future__ import annotations

PREFIX = "provisioner:"
RUNS = f"{PREFIX}runs"
PEOPLE = f"{PREFIX}roster:people"
ROSTER = f"{PREFIX}roster:meta"
PUSHED = f"{PREFIX}roster:pushed"
SCHEMA = f"{PREFIX}schema"
MARK = f"{PREFIX}mark"
SWEPT = f"{PREFIX}swept"
INBOUND = f"{PREFIX}inbound"
INBOUND_SEEN = f"{PREFIX}inbound:seen"
INBOUND_COUNTS = f"{PREFIX}inbound:counts"
INBOUND_ERRORS = f"{PREFIX}inbound:errors"
INBOUND_LATER = f"{PREFIX}inbound:later"
INBOUND_DEAD = f"{PREFIX}inbound:dead"
INBOUND_UNKNOWN = f"{PREFIX}inbound:unknown"
READBACK = f"{PREFIX}readback"
OUTBOX = f"{PREFIX}outbox"
OUTBOX_ITEMS = f"{PREFIX}outbox:items"
OUTBOX_SEEN = f"{PREFIX}outbox:seen"
OUTBOX_DEAD = f"{PREFIX}outbox:dead"
WRITEBACK_DUE = f"{PREFIX}writeback:due"
TRIMMED = f"{PREFIX}trimmed"
RECEIPTS = f"{PREFIX}receipts"


TOTALS = f"{PREFIX}totals"
ENDED = f"{PREFIX}ended"
BEAT = f"{PREFIX}beat:tick"
NOTIFIED = f"{PREFIX}notified"
NOTICES = f"{PREFIX}notices"
AUDIT = f"{PREFIX}audit"
WEB = f"{PREFIX}web:"


def run(run_id: str) -> str:
    """One run."""
    return f"{PREFIX}run:{run_id}"


def run_target(run_id: str, target: str) -> str:
    """A run's part for one target."""
    return f"{PREFIX}run:{run_id}:t:{target}"


def run_operations(run_id: str, target: str) -> str:
    """Ids of a run's operations for one target, in order."""
    return f"{PREFIX}run:{run_id}:ops:{target}"


def operation(run_id: str, target: str, operation_id: str) -> str:
    """One operation of a run."""
    return f"{PREFIX}run:{run_id}:op:{target}:{operation_id}"


def run_by_status(run_id: str, target: str, status: str) -> str:
    """Those of a run's operations that are held, failed, waiting or rejected, in order."""
    return f"{PREFIX}run:{run_id}:by:{target}:{status}"


def leavers(target: str) -> str:
    """Persons whose leave is not finished."""
    return f"{PREFIX}leavers:{target}"


def tally(day: int) -> str:
    """What ended on a day (since 1970, UTC), by the hour."""
    return f"{PREFIX}tally:{day}"


def stage(run_id: str, target: str) -> str:
    """What is being installed."""
    return f"{PREFIX}run:{run_id}:stage:{target}"


def rejects(run_id: str) -> str:
    """Rejected rows of a run's roster."""
    return f"{PREFIX}run:{run_id}:rejects"


def installing(target: str) -> str:
    """The runs whose plan for everybody is being installed."""
    return f"{PREFIX}slots:installing:{target}"


def fresh_slots(target: str) -> str:
    """The slots in which something came to stand while a plan is being installed."""
    return f"{PREFIX}slots:fresh:{target}"


def ledger(target: str) -> str:
    """Links and acknowledged values."""
    return f"{PREFIX}ledger:{target}"


def observed(target: str) -> str:
    """Observed accounts."""
    return f"{PREFIX}observed:{target}"


def reading(target: str) -> str:
    """When and where the observed accounts were read."""
    return f"{PREFIX}reading:{target}"


def lists(target: str) -> str:
    """The lists that a person looks after."""
    return f"{PREFIX}lists:{target}"


def health(target: str) -> str:
    """Pause, quarantine, failures."""
    return f"{PREFIX}target:{target}"


def outcomes(target: str) -> str:
    """Good and bad outcomes of the last minutes."""
    return f"{PREFIX}outcomes:{target}"


def decisions(target: str) -> str:
    """Approvals and rejections by operation id."""
    return f"{PREFIX}decisions:{target}"


def sent(target: str, guard: str) -> str:
    """What went out without approval."""
    return f"{PREFIX}sent:{target}:{guard}"


def slots(target: str) -> str:
    """Which operation stands for a person and slot now."""
    return f"{PREFIX}slots:{target}"


def queued(target: str) -> str:
    """Operations ready to go."""
    return f"{PREFIX}q:{target}"


def parked(target: str) -> str:
    """Operations that wait for their time."""
    return f"{PREFIX}parked:{target}"


def leases(target: str) -> str:
    """Operations in a worker's hand."""
    return f"{PREFIX}leases:{target}"


def busy(target: str) -> str:
    """The run that observes and plans a target now."""
    return f"{PREFIX}busy:{target}"


def doing(work: str) -> str:
    """Who does a piece of work that only one may do."""
    return f"{PREFIX}doing:{work}"


def nudged(work: str) -> str:
    """When the nudge that is under way for a piece of work is due."""
    return f"{PREFIX}nudged:{work}"


def waiting(target: str) -> str:
    """The run that waits for a busy target."""
    return f"{PREFIX}waiting:{target}"


def history(person: str) -> str:
    """The newest operations of a person."""
    return f"{PREFIX}history:{person}"


def receipt(person: str) -> str:
    """What stands of a leaver's leaves."""
    return f"{PREFIX}receipt:{person}"


def heard(person: str) -> str:
    """Events from outside about a person."""
    return f"{PREFIX}heard:{person}"


def facts(person: str) -> str:
    """What is known of a person beside their accounts."""
    return f"{PREFIX}facts:{person}"


def added(target: str) -> str:
    """What was added to the queue once and for ever."""
    return f"{PREFIX}added:{target}"


def tagging(target: str, person: str) -> str:
    """A person's tags are being sent."""
    return f"{PREFIX}tagging:{target}:{person}"
