"""All stores on one connection, and how a connection is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from provisioner.store.admin.audit import AuditStore
from provisioner.store.admin.backup import BackupStore
from provisioner.store.admin.erase import EraseStore
from provisioner.store.admin.heartbeats import HeartbeatStore
from provisioner.store.admin.history import HistoryStore
from provisioner.store.admin.mark import MarkStore
from provisioner.store.admin.notices import NoticeStore
from provisioner.store.admin.position import PositionStore
from provisioner.store.admin.web_sessions import WebSessionStore
from provisioner.store.events.inbound import InboundStore
from provisioner.store.events.outbox import OutboxStore
from provisioner.store.people.changed_people import ChangedPeopleStore
from provisioner.store.people.hand_links import HandLinkStore
from provisioner.store.people.last_outcomes import LastOutcomeStore
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.origins import OriginStore
from provisioner.store.people.past_snapshots import PastStore
from provisioner.store.people.person_events import PersonEventStore
from provisioner.store.people.pushed_people import PushedPeopleStore
from provisioner.store.people.receipts import ReceiptStore
from provisioner.store.people.rekeys import RekeyStore
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.queue.operations import QueueStore
from provisioner.store.queue.overtaken import OvertakenStore
from provisioner.store.queue.plans import PlanStore
from provisioner.store.queue.promised_names import PromisedNameStore
from provisioner.store.queue.rate_limit import PaceStore
from provisioner.store.queue.seats import SeatStore
from provisioner.store.queue.tag_holds import TagHoldStore
from provisioner.store.queue.wakeups import WakeupStore
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import connect, redis_errors
from provisioner.store.redis.schema import ensure_schema
from provisioner.store.redis.scripts import Scripts
from provisioner.store.redis.server import Server
from provisioner.store.runs.answer_shapes import AnswerShapeStore
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.done_operations import DoneOperationStore
from provisioner.store.runs.faults import FaultStore
from provisioner.store.runs.figures import FigureStore
from provisioner.store.runs.lifecycle import LifecycleStore
from provisioner.store.runs.locks import LockStore
from provisioner.store.runs.paging import OperationPageStore
from provisioner.store.runs.reviewed import ReviewedStore
from provisioner.store.runs.table_requests import TableRequestStore
from provisioner.store.runs.target_health import HealthStore


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that is kept in Redis, by what it is about. A function takes the stores that it uses."""

    server: Server
    # Runs and targets
    runs: RunStore
    lifecycle: LifecycleStore
    locks: LockStore
    operations: OperationPageStore
    figures: FigureStore
    faults: FaultStore
    table_requests: TableRequestStore
    reviewed: ReviewedStore
    done: DoneOperationStore
    health: HealthStore
    answer_shapes: AnswerShapeStore
    # The queue of each target
    queue: QueueStore
    plans: PlanStore
    promised_names: PromisedNameStore
    overtaken: OvertakenStore
    pace: PaceStore
    seats: SeatStore
    tag_holds: TagHoldStore
    wakeups: WakeupStore
    # People
    ledger: LedgerStore
    hand_links: HandLinkStore
    origins: OriginStore
    rekeys: RekeyStore
    frames: FrameStore
    past: PastStore
    pushed_people: PushedPeopleStore
    changed_people: ChangedPeopleStore
    receipts: ReceiptStore
    last_outcomes: LastOutcomeStore
    person_events: PersonEventStore
    # Events from outside
    inbound: InboundStore
    outbox: OutboxStore
    # What operators look after
    audit: AuditStore
    backups: BackupStore
    erasers: EraseStore
    heartbeats: HeartbeatStore
    history: HistoryStore
    mark: MarkStore
    notices: NoticeStore
    position: PositionStore
    web_sessions: WebSessionStore

    @classmethod
    def on(cls, redis: Redis, address: RedisAddress | None = None, **more: Any) -> Self:
        """The stores on a client.

        Args:
            address: where the server is, for errors.
            more: the further fields of a subclass.
        """
        scripts = Scripts(redis)
        return cls(
            server=Server(redis, address),
            runs=RunStore(redis),
            lifecycle=LifecycleStore(redis, scripts),
            locks=LockStore(redis),
            operations=OperationPageStore(redis),
            figures=FigureStore(redis),
            faults=FaultStore(redis),
            table_requests=TableRequestStore(redis, scripts),
            reviewed=ReviewedStore(redis),
            done=DoneOperationStore(redis),
            health=HealthStore(redis),
            answer_shapes=AnswerShapeStore(redis),
            queue=QueueStore(redis, scripts),
            plans=PlanStore(redis, scripts),
            promised_names=PromisedNameStore(redis, scripts),
            overtaken=OvertakenStore(redis, scripts),
            pace=PaceStore(redis, scripts),
            seats=SeatStore(redis),
            tag_holds=TagHoldStore(redis),
            wakeups=WakeupStore(redis),
            ledger=LedgerStore(redis),
            hand_links=HandLinkStore(redis, scripts),
            origins=OriginStore(redis),
            rekeys=RekeyStore(redis, scripts),
            frames=FrameStore(redis),
            past=PastStore(redis),
            pushed_people=PushedPeopleStore(redis, scripts),
            changed_people=ChangedPeopleStore(redis, scripts),
            receipts=ReceiptStore(redis, scripts),
            last_outcomes=LastOutcomeStore(redis),
            person_events=PersonEventStore(redis),
            inbound=InboundStore(redis, scripts),
            outbox=OutboxStore(redis, scripts),
            audit=AuditStore(redis),
            backups=BackupStore(redis),
            erasers=EraseStore(redis),
            heartbeats=HeartbeatStore(redis),
            history=HistoryStore(redis),
            mark=MarkStore(redis),
            notices=NoticeStore(redis),
            position=PositionStore(redis),
            web_sessions=WebSessionStore(redis),
            **more,
        )


#: Seconds in which a server has to answer the first time, where somebody waits.
OPENS_WITHIN: Final = 4.0


@asynccontextmanager
async def connected(
    address: RedisAddress, *, reading: bool = False, within: float | None = None
) -> AsyncIterator[Redis]:
    """A client for one event loop, for as long as the context lasts, of a server whose data has our layout.

    Args:
        reading: leave Redis as it is; not even the number of its layout is noted.
        within: seconds in which each command has to be answered; None: as patient as a worker.

    Raises:
        StoreError: Redis does not answer, or its data is of a layout that this version does not know.
    """
    redis = connect(address, within=within)
    try:
        with redis_errors(address):
            # However long a later command may take, a server that hangs already is said at once
            async with asyncio.timeout(None if within is None else min(within, OPENS_WITHIN)):
                await Server(redis, address).ping()
        await ensure_schema(redis, reading=reading)
        yield redis
    finally:
        await redis.aclose()
