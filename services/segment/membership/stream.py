"""Reads `tessera.profile.updates` and writes `tessera.segment.transitions`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome, slot_of
from libs.messaging.topics import SEGMENT_TRANSITIONS
from libs.observability import metrics
from libs.profile_feed import Histories, feed_of
from services.segment.membership import wire
from services.segment.membership.model import Plan, TransitionKind, Update
from services.segment.membership.sql import Cache, EventNames, Plans, SqlStates
from services.segment.membership.use_cases import Followed, Follower

log = structlog.get_logger(__name__)

_CAUGHT_UP_AT_ONCE = 500
_REBUILT_AT_ONCE = 100


class UpdateHandler:
    """Follows the profiles of some partitions."""

    def __init__(
        self,
        plans: Plans,
        histories: Histories[Update],
        partitions: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plans = plans
        self._histories = histories
        self._partitions = partitions
        self._clock = clock
        self._cache = Cache()
        self._names = EventNames(clock)
        self._done: tuple[int, tuple[int, ...]] | None = None
        # A former owner may have left some for whom time was due.
        self._more_due = True

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        feed = feed_of(batch.records)
        plan = await self._plans.newest(connection)
        updates = _Unread(feed.steps, self._names)
        followed = await self._follower(plan, connection).follow(updates, feed.clocks)
        self._more_due |= followed.more
        return self._outcome(plan, followed, feed.traces)

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        """Advance those for whom time is due, who is set aside, and states of older plans, in portions."""
        await self._names.save(connection)
        plan = await self._plans.newest(connection)
        follower = self._follower(plan, connection)
        if self._more_due:
            followed = await follower.pass_time(indexes)
            if followed is not None:
                return self._outcome(plan, followed)
            self._more_due = False
        followed = await follower.rebuild(indexes, _REBUILT_AT_ONCE)
        if followed is not None:
            self._more_due |= followed.more
            return self._outcome(plan, followed)
        if self._done == (plan.version, indexes):
            return None
        followed = await follower.catch_up(indexes, _CAUGHT_UP_AT_ONCE)
        if followed is not None:
            self._more_due |= followed.more
            return self._outcome(plan, followed)
        if not await follower.finish_plan(indexes):
            return None

        def settle() -> None:
            self._done = plan.version, indexes

        return Outcome(after_commit=settle)

    def forget(self) -> None:
        self._cache.forget()
        self._names.forget()
        self._done = None
        self._more_due = True

    def _follower(self, plan: Plan, connection: Connection) -> Follower:
        states = SqlStates(connection, self._cache, self._partitions, self._clock)
        return Follower(plan, states, self._histories, self._index_of)

    def _index_of(self, profile_id: str) -> int:
        return slot_of(profile_id.encode()) % self._partitions

    def _outcome(
        self, plan: Plan, followed: Followed, traces: Mapping[str, str] = MappingProxyType({})
    ) -> Outcome:
        now = self._clock()
        transitions = followed.transitions
        if followed.rebuilt:
            log.info("histories read", profiles=followed.rebuilt)
        records = [
            wire.transition_record(
                transition,
                plan.versions.get(transition.definition_id, 0),
                int(now * 1_000_000),
                traces.get(transition.profile_id),
            )
            for transition in transitions
        ]

        def count() -> None:
            for transition in transitions:
                metrics.TRANSITIONS.labels(transition.kind.value).inc()
                if transition.kind is TransitionKind.TRIGGERED:
                    metrics.TIMER_LATENESS.observe(max(0.0, now - transition.time / 1_000_000))

        return Outcome([(SEGMENT_TRANSITIONS, records)], count)


class _Unread(Mapping[str, Sequence[Callable[[], Update]]]):
    """The updates of a batch by profile, each read when it is asked for: objects are large."""

    def __init__(self, records: Mapping[str, Sequence[bytes]], names: EventNames) -> None:
        self._records = records
        self._names = names

    def __getitem__(self, profile_id: str) -> Sequence[Callable[[], Update]]:
        return [partial(self._read, record) for record in self._records[profile_id]]

    def _read(self, record: bytes) -> Update:
        update = wire.read_update(record)
        if not update.moved:
            self._names.count(update)
        return update

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
