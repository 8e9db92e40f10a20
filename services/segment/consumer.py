"""Reads `tessera.profile.updates` and writes `tessera.segment.transitions`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome, Record, slot_of
from libs.messaging.topics import SEGMENT_TRANSITIONS
from libs.observability import metrics
from services.segment import convert
from services.segment.domain import TransitionKind, Update
from services.segment.evaluation import Plan
from services.segment.handlers import Followed, Follower
from services.segment.ports import Histories
from services.segment.repository import Cache, Plans, SqlStates

log = structlog.get_logger(__name__)

_CAUGHT_UP_AT_ONCE = 500


class UpdateHandler:
    """Follows the profiles of some partitions."""

    def __init__(
        self,
        plans: Plans,
        histories: Histories,
        partitions: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plans = plans
        self._histories = histories
        self._partitions = partitions
        self._clock = clock
        self._cache = Cache()
        self._done: tuple[int, tuple[int, ...]] | None = None
        # A former owner may have left some for whom time was due.
        self._more_due = True

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        updates: dict[str, list[bytes]] = {}
        clocks: dict[int, int] = {}
        traced: dict[str, str] = {}
        for record in batch.records:
            if record.type == convert.UPDATED:
                profile_id = record.key.decode()
                updates.setdefault(profile_id, []).append(record.value)
                if "traceparent" in record.headers:
                    traced[profile_id] = record.headers["traceparent"]
            elif record.type == convert.CLOCK:
                clocks[record.partition] = max(
                    clocks.get(record.partition, 0), convert.clock_of(record.value)
                )
        plan = await self._plans.newest(connection)
        followed = await self._follower(plan, connection).follow(_Unread(updates), clocks)
        self._more_due |= followed.more
        return self._outcome(plan, followed, traced)

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        """Bring those for whom time is due, and states of older plans, up to date, in portions."""
        plan = await self._plans.newest(connection)
        follower = self._follower(plan, connection)
        if self._more_due:
            followed = await follower.pass_time(indexes)
            if followed is not None:
                return self._outcome(plan, followed)
            self._more_due = False
        if self._done == (plan.version, indexes):
            return None
        followed = await follower.catch_up(indexes, _CAUGHT_UP_AT_ONCE)
        if followed is not None:
            return self._outcome(plan, followed)
        if not await follower.finish_plan(indexes):
            return None

        def settle() -> None:
            self._done = plan.version, indexes

        return Outcome(after_commit=settle)

    def forget(self) -> None:
        self._cache.forget()
        self._done = None
        self._more_due = True

    def _follower(self, plan: Plan, connection: Connection) -> Follower:
        states = SqlStates(connection, self._cache, self._partitions)
        return Follower(plan, states, self._histories, self._index_of)

    def _index_of(self, profile_id: str) -> int:
        return slot_of(profile_id.encode()) % self._partitions

    def _outcome(
        self, plan: Plan, followed: Followed, traced: Mapping[str, str] = MappingProxyType({})
    ) -> Outcome:
        now = self._clock()
        transitions = followed.transitions
        if followed.rebuilt:
            log.info("profiles rebuilt", profiles=followed.rebuilt)
        records = [
            Record(
                key=transition.profile_id.encode(),
                type=convert.TRANSITION,
                value=convert.transition_bytes(transition, plan.versions.get(transition.definition_id, 0)),
                time=int(now * 1_000_000),
                headers=_trace(traced.get(transition.profile_id)),
            )
            for transition in transitions
        ]

        def count() -> None:
            for transition in transitions:
                metrics.TRANSITIONS.labels(transition.kind.value).inc()
                if transition.kind is TransitionKind.TRIGGERED:
                    metrics.TIMER_LATENESS.observe(max(0.0, now - transition.time / 1_000_000))

        return Outcome([(SEGMENT_TRANSITIONS, records)], count)


class _Unread(Mapping[str, Sequence[Update]]):
    """The updates of a batch by profile, each read when it is asked for: objects are large."""

    def __init__(self, records: Mapping[str, Sequence[bytes]]) -> None:
        self._records = records

    def __getitem__(self, profile_id: str) -> Sequence[Update]:
        return [convert.update_of(record) for record in self._records[profile_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def _trace(traceparent: str | None) -> dict[str, str] | None:
    return {"traceparent": traceparent} if traceparent else None
