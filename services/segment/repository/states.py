"""States, timers, memberships and what has been triggered."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from libs.database import Connection
from libs.errors import Unavailable
from libs.messaging import slot_of
from services.segment.domain import State, Transition, TransitionKind

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode

_LOAD = "select state from segment.states where profile_id = any($1::uuid[])"
_DUE = """
select t.profile_id::text from segment.timers as t
join unnest($1::int[], $2::bigint[]) as c (partition, clock)
  on t.slot % $3::int = c.partition and t.due <= c.clock
where t.due <= $4 order by t.due limit $5
"""
_OUTDATED = """
select profile_id::text from segment.states where plan < $1 and slot % $3::int = any($2::int[]) limit $4
"""
_FINISH = """
insert into segment.partitions as p (partition, plan)
select partition, $2 from unnest($1::int[]) as i (partition)
on conflict (partition) do update set plan = excluded.plan where p.plan < excluded.plan
"""
# Two owners for a moment can both get so far; only one of them has computed from what is stored.
_SAVE_STATES = """
insert into segment.states as s (profile_id, slot, plan, writes, state)
select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bytea[])
on conflict (profile_id) do update
set plan = excluded.plan, writes = excluded.writes, state = excluded.state
where s.writes = excluded.writes - 1
"""
_SET_TIMERS = """
insert into segment.timers (profile_id, slot, due)
select * from unnest($1::uuid[], $2::smallint[], $3::bigint[])
on conflict (profile_id) do update set due = excluded.due
"""
_DROP_TIMERS = "delete from segment.timers where profile_id = any($1::uuid[])"
_ENTER = """
insert into segment.memberships (segment_id, profile_id, entered, cause_id, event_id)
select * from unnest($1::text[], $2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[])
on conflict (segment_id, profile_id)
do update set entered = excluded.entered, cause_id = excluded.cause_id, event_id = excluded.event_id
"""
_LEAVE = """
delete from segment.memberships as m using unnest($1::text[], $2::uuid[]) as gone (segment_id, profile_id)
where m.profile_id = any($2::uuid[])
  and m.segment_id = gone.segment_id and m.profile_id = gone.profile_id
"""
_CLAIM = """
insert into segment.triggered (trigger_id, cause_id) select * from unnest($1::text[], $2::bytea[])
on conflict do nothing returning trigger_id, cause_id
"""
_SET_CLOCKS = """
insert into segment.partitions as p (partition, clock) select * from unnest($1::int[], $2::bigint[])
on conflict (partition) do update set clock = excluded.clock where p.clock < excluded.clock
"""


class Cache:
    """What a worker remembers of its partitions: they are its own while it may commit.

    States are changed in place. They are counted by what they take as stored; in memory they take
    three to seven times that, less the more events a person has.
    """

    def __init__(self, most_bytes: int = 8 << 20) -> None:
        self.clocks: dict[int, int] = {}
        self._states: dict[str, tuple[State, int]] = {}
        self._bytes = 0
        self._most_bytes = most_bytes

    def forget(self) -> None:
        """Drop everything: a transaction was rolled back, or partitions changed hands."""
        self._states.clear()
        self._bytes = 0
        self.clocks.clear()

    def state(self, profile_id: str) -> State | None:
        """The state, where it is known."""
        known = self._states.get(profile_id)
        return None if known is None else known[0]

    def take(self, state: State, size: int) -> None:
        """Remember what was stored in so many bytes; what was stored longest ago goes first."""
        known = self._states
        self._bytes += size - known.pop(state.profile_id, (state, 0))[1]
        known[state.profile_id] = state, size
        while self._bytes > self._most_bytes:
            self._bytes -= known.pop(next(iter(known)))[1]


class SqlStates:
    """The states of one batch, inside its transaction. What it saves, it leaves in the cache."""

    def __init__(self, connection: Connection, cache: Cache, partitions: int) -> None:
        self._connection = connection
        self._cache = cache
        self._partitions = partitions
        # The timers as stored, of what was loaded last.
        self._dues: dict[str, int | None] = {}

    async def load(self, profile_ids: Collection[str]) -> dict[str, State]:
        found: dict[str, State] = {}
        missing = []
        for profile_id in profile_ids:
            state = self._cache.state(profile_id)
            if state is None:
                missing.append(profile_id)
                state = State(profile_id)
            found[profile_id] = state
        if missing:
            for row in await self._connection.fetch(_LOAD, missing):
                state = _decode(row[0])
                found[state.profile_id] = state
        self._dues = {profile_id: state.due for profile_id, state in found.items()}
        return found

    async def due(self, clocks: Mapping[int, int], limit: int) -> list[str]:
        if not clocks:
            return []
        rows = await self._connection.fetch(
            _DUE, list(clocks), list(clocks.values()), self._partitions, max(clocks.values()), limit
        )
        return [row[0] for row in rows]

    async def outdated(self, indexes: Collection[int], plan: int, limit: int) -> list[str]:
        rows = await self._connection.fetch(_OUTDATED, plan, list(indexes), self._partitions, limit)
        return [row[0] for row in rows]

    async def finish_plan(self, indexes: Collection[int], plan: int) -> None:
        await self._connection.execute(_FINISH, list(indexes), plan)

    async def clocks(self, indexes: Collection[int]) -> dict[int, int]:
        unknown = [index for index in indexes if index not in self._cache.clocks]
        if unknown:
            query = "select partition, clock from segment.partitions where partition = any($1::int[])"
            self._cache.clocks.update(dict.fromkeys(unknown, 0))
            self._cache.clocks.update(
                (row[0], row[1]) for row in await self._connection.fetch(query, unknown)
            )
        return {index: self._cache.clocks[index] for index in indexes if self._cache.clocks[index]}

    async def claim(self, triggered: Sequence[Transition]) -> set[tuple[str, bytes]]:
        effects = sorted({(t.definition_id, t.cause_id) for t in triggered})
        rows = await self._connection.fetch(_CLAIM, [e[0] for e in effects], [e[1] for e in effects])
        return {(row[0], row[1]) for row in rows}

    async def save(self, states: Sequence[State], transitions: Sequence[Transition]) -> None:
        if not states:
            return
        for state in states:
            state.writes += 1
        encoded = {state.profile_id: _encode(state) for state in states}
        status = await self._connection.execute(
            _SAVE_STATES,
            list(encoded),
            [slot_of(state.profile_id.encode()) for state in states],
            [state.plan for state in states],
            [state.writes for state in states],
            list(encoded.values()),
        )
        if status != f"INSERT 0 {len(states)}":
            raise Unavailable("another owner of the partition has written one of its states")
        await self._save_timers(states)
        await self._save_memberships(transitions)
        for state in states:
            self._cache.take(state, len(encoded[state.profile_id]))

    async def save_clocks(self, clocks: Mapping[int, int]) -> None:
        news = {index: clock for index, clock in clocks.items() if clock > self._cache.clocks.get(index, 0)}
        if news:
            await self._connection.execute(_SET_CLOCKS, list(news), list(news.values()))
            self._cache.clocks.update(news)

    async def _save_timers(self, states: Sequence[State]) -> None:
        changed = [state for state in states if self._dues.get(state.profile_id) != state.due]
        later = [(s.profile_id, slot_of(s.profile_id.encode()), s.due) for s in changed if s.due is not None]
        if later:
            await self._connection.execute(
                _SET_TIMERS, *(list(column) for column in zip(*later, strict=True))
            )
        never = [state.profile_id for state in changed if state.due is None]
        if never:
            await self._connection.execute(_DROP_TIMERS, never)

    async def _save_memberships(self, transitions: Sequence[Transition]) -> None:
        # Somebody may leave and come back within a batch: the last one counts.
        last: dict[tuple[str, str], Transition] = {}
        for transition in transitions:
            if transition.kind is not TransitionKind.TRIGGERED:
                last[transition.definition_id, transition.profile_id] = transition
        entered = [
            (segment_id, profile_id, t.time, t.cause_id, t.event_id)
            for (segment_id, profile_id), t in last.items()
            if t.kind is TransitionKind.ENTERED
        ]
        if entered:
            await self._connection.execute(_ENTER, *(list(column) for column in zip(*entered, strict=True)))
        left = [key for key, t in last.items() if t.kind is TransitionKind.EXITED]
        if left:
            await self._connection.execute(_LEAVE, *(list(column) for column in zip(*left, strict=True)))
