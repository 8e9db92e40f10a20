"""States, timers, memberships and what has been triggered."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
import structlog

from libs.database import Connection
from libs.errors import Unavailable
from libs.messaging import slot_of
from libs.observability import metrics
from libs.profile_feed import SetAside
from services.segment.membership.model import (
    Membership,
    SeriesState,
    State,
    Transition,
    TransitionKind,
)
from services.segment.membership.ports import Effect, Loaded

log = structlog.get_logger(__name__)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode
_decode_part = msgspec.msgpack.Decoder(SeriesState).decode

_LOAD = "select profile_id::text, writes, state from segment.states where profile_id = any($1::uuid[])"
_LOAD_PARTS = """
select profile_id::text, series_id, part, body from segment.parts
where profile_id = any($1::uuid[]) order by profile_id, series_id, part
"""
_LOAD_MEMBERSHIPS = """
select profile_id::text, segment_id, entered, cause_id, event_id from segment.memberships
where profile_id = any($1::uuid[])
"""
_DUE = """
select t.profile_id::text from segment.timers as t
join unnest($1::int[], $2::bigint[]) as c (partition, clock)
  on t.slot % $3::int = c.partition and t.due <= c.clock
where t.due <= $4 order by t.due limit $5
"""
_OUTDATED = """
select profile_id::text from segment.states as s where plan < $1 and slot % $3::int = any($2::int[])
  and not exists (select from segment.set_aside as a where a.profile_id = s.profile_id)
limit $4
"""
_FINISH = """
insert into segment.partitions as p (partition, plan)
select partition, $2 from unnest($1::int[]) as i (partition)
on conflict (partition) do update set plan = excluded.plan where p.plan < excluded.plan
"""
_LOCK_BACKFILLS = """
select operation_id from segment.operations where kind = 'backfill' and state = 1
order by operation_id for update
"""
# 1 is running, 2 succeeded: as libs.operations numbers them.
_TELL_BACKFILLS = """
update segment.operations as o set
  done = d.partitions, updated = $2::bigint,
  state = case when d.partitions >= $1::int then 2 else 1 end,
  ended = case when d.partitions >= $1::int then $2::bigint end
from (
  select b.operation_id, count(p.partition) as partitions
  from segment.backfills as b
  left join segment.partitions as p on p.plan >= b.plan and p.partition < $1::int
  group by b.operation_id
) as d
where o.operation_id = d.operation_id and o.state = 1
"""
# Two owners for a moment can both get so far; only one of them has computed from what is stored.
_SAVE_STATES = """
insert into segment.states as s (profile_id, slot, plan, writes, state)
select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bytea[])
on conflict (profile_id) do update
set plan = excluded.plan, writes = excluded.writes, state = excluded.state
where s.writes = excluded.writes - 1
"""
_DROP_PARTS = "delete from segment.parts where profile_id = any($1::uuid[])"
_DROP_OLD_PARTS = """
delete from segment.parts as p
using unnest($1::uuid[], $2::int[], $3::int[]) as o (profile_id, series_id, first)
where p.profile_id = o.profile_id and p.series_id = o.series_id and p.part < o.first
"""
_SAVE_PARTS = """
insert into segment.parts (profile_id, series_id, part, body)
select * from unnest($1::uuid[], $2::int[], $3::int[], $4::bytea[])
on conflict (profile_id, series_id, part) do update set body = excluded.body
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
# A row a partition: only its owner changes it, so nobody waits for anybody.
_COUNT = """
insert into segment.member_counts as c (segment_id, partition, members)
select * from unnest($1::text[], $2::int[], $3::bigint[])
on conflict (segment_id, partition) do update set members = c.members + excluded.members
"""
_CLAIM = """
insert into segment.triggered (trigger_id, cause_id, profile_id, due)
select * from unnest($1::text[], $2::bytea[], $3::uuid[], $4::bigint[])
on conflict do nothing returning trigger_id, cause_id
"""
_WITHDRAW = """
update segment.triggered as t set withdrawn = true
from unnest($1::text[], $2::bytea[]) as w (trigger_id, cause_id)
where t.trigger_id = w.trigger_id and t.cause_id = w.cause_id and not t.withdrawn
returning t.trigger_id, t.cause_id
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

    def put(self, state: State, size: int) -> None:
        """Remember what was stored in so many bytes; what was stored longest ago goes first."""
        known = self._states
        self._bytes += size - known.pop(state.profile_id, (state, 0))[1]
        known[state.profile_id] = state, size
        while self._bytes > self._most_bytes:
            self._bytes -= known.pop(next(iter(known)))[1]

    def drop(self, profile_id: str) -> None:
        """Remember nothing of somebody."""
        self._bytes -= self._states.pop(profile_id, (None, 0))[1]


class SqlStates:
    """The states of one batch, inside its transaction. What it saves, it leaves in the cache."""

    def __init__(
        self,
        connection: Connection,
        cache: Cache,
        partitions: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._partitions = partitions
        self._clock = clock
        self._aside = SetAside("segment", partitions, clock)
        # As stored, of what was loaded last.
        self._dues: dict[str, int | None] = {}
        self._set_aside: set[str] = set()

    async def load(self, profile_ids: Collection[str]) -> Loaded:
        found: dict[str, State] = {}
        missing = []
        for profile_id in profile_ids:
            state = self._cache.state(profile_id)
            if state is None:
                missing.append(profile_id)
                state = State(profile_id)
            found[profile_id] = state
        unreadable: dict[str, str] = {}
        if missing:
            for profile_id, writes, stored in await self._connection.fetch(_LOAD, missing):
                try:
                    found[profile_id] = _decode(stored)
                except (msgspec.MsgspecError, ValueError) as error:
                    unreadable[profile_id] = f"the state can't be read: {error}"
                    found[profile_id] = State(profile_id, writes=writes)
            divided = [id_ for id_ in missing if found[id_].divided()]
            if divided:
                unreadable |= await self._load_parts({id_: found[id_] for id_ in divided})
            if unreadable:
                await self._load_anew(found, unreadable)
        self._dues = {profile_id: state.due for profile_id, state in found.items()}
        self._set_aside = await self._aside.among(self._connection, found)
        return Loaded(found, unreadable, self._set_aside)

    async def _load_parts(self, states: Mapping[str, State]) -> dict[str, str]:
        """Join what lies in parts of its own to states; returns whose parts are not as they should be."""
        bodies: dict[tuple[str, int], dict[int, bytes]] = defaultdict(dict)
        for profile_id, series_id, part, body in await self._connection.fetch(_LOAD_PARTS, list(states)):
            bodies[profile_id, series_id][part] = body
        unreadable = {}
        for profile_id, state in states.items():
            try:
                for series_id, series, division in state.divided():
                    stored = bodies[profile_id, series_id]
                    parts = [_decode_part(stored[number]) for number in division.numbers]
                    if bytes(map(len, parts)) != bytes(division.sizes):
                        raise ValueError(f"the parts of series {series_id} are of another state")
                    series.join(parts)
            except (msgspec.MsgspecError, ValueError, KeyError) as error:
                unreadable[profile_id] = f"the state can't be read: {error!r}"
        return unreadable

    async def _load_anew(self, states: dict[str, State], unreadable: Mapping[str, str]) -> None:
        """In place of what can't be read: empty states with the memberships that others were told of."""
        for profile_id, reason in unreadable.items():
            log.error("state unreadable", profile_id=profile_id, reason=reason)
            states[profile_id] = State(profile_id, writes=states[profile_id].writes, anew=True)
        metrics.PROFILES_SET_ASIDE.labels("segment").inc(len(unreadable))
        rows = await self._connection.fetch(_LOAD_MEMBERSHIPS, list(unreadable))
        for profile_id, segment_id, *membership in rows:
            states[profile_id].memberships[segment_id] = Membership(*membership)

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

    async def to_rebuild(self, indexes: Collection[int], limit: int) -> list[str]:
        return await self._aside.due(self._connection, indexes, limit)

    async def finish_plan(self, indexes: Collection[int], plan: int) -> None:
        await self._connection.execute(_FINISH, list(indexes), plan)
        # One after the other, so that the last one sees the partitions of all.
        await self._connection.execute(_LOCK_BACKFILLS)
        await self._connection.execute(_TELL_BACKFILLS, self._partitions, int(self._clock() * 1_000_000))

    async def clocks(self, indexes: Collection[int]) -> dict[int, int]:
        unknown = [index for index in indexes if index not in self._cache.clocks]
        if unknown:
            query = "select partition, clock from segment.partitions where partition = any($1::int[])"
            self._cache.clocks.update(dict.fromkeys(unknown, 0))
            self._cache.clocks.update(
                (row[0], row[1]) for row in await self._connection.fetch(query, unknown)
            )
        return {index: self._cache.clocks[index] for index in indexes if self._cache.clocks[index]}

    async def claim(self, triggered: Sequence[Transition]) -> set[Effect]:
        effects = {(t.definition_id, t.cause_id): (t.profile_id, t.time) for t in triggered}
        columns = _columns([(*effect, *whose) for effect, whose in sorted(effects.items())])
        return {Effect(*row) for row in await self._connection.fetch(_CLAIM, *columns)}

    async def withdraw(self, withdrawn: Sequence[Transition]) -> set[Effect]:
        columns = _columns(sorted({(t.definition_id, t.cause_id) for t in withdrawn}))
        return {Effect(*row) for row in await self._connection.fetch(_WITHDRAW, *columns)}

    async def save(self, states: Sequence[State], transitions: Sequence[Transition]) -> None:
        if not states:
            return
        encoded: dict[str, bytes] = {}
        touched: list[tuple[str, int, int, bytes]] = []
        anew: list[str] = []
        folded: list[tuple[str, int, int]] = []
        sizes: dict[str, int] = {}
        for state in states:
            state.writes += 1
            if state.anew:
                state.anew = False
                anew.append(state.profile_id)
            size = 0
            divided = state.divided()
            heads = dict(state.series) if divided else {}
            for series_id, series, division in divided:
                parts, dropped = series.changed_parts()
                for number, part in parts.items():
                    touched.append((state.profile_id, series_id, number, _encode(part)))
                if dropped:
                    folded.append((state.profile_id, series_id, division.first))
                heads[series_id] = series.head()
                size += len(series.times) + len(series.ids) + len(series.numbers)
            stored = msgspec.structs.replace(state, series=heads) if divided else state
            encoded[state.profile_id] = _encode(stored)
            sizes[state.profile_id] = size + len(encoded[state.profile_id])
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
        await self._save_parts(anew, folded, touched)
        await self._save_timers(states)
        await self._save_memberships(transitions)
        await self._aside.settle(self._connection, self._set_aside & encoded.keys())
        for state in states:
            self._cache.put(state, sizes[state.profile_id])

    async def set_aside(self, reasons: Mapping[str, str]) -> None:
        if not reasons:
            return
        for profile_id in reasons:
            self._cache.drop(profile_id)
        await self._aside.put(self._connection, reasons)
        # Their time does not pass before they are rebuilt.
        await self._connection.execute(_DROP_TIMERS, list(reasons))

    async def save_clocks(self, clocks: Mapping[int, int]) -> None:
        news = {index: clock for index, clock in clocks.items() if clock > self._cache.clocks.get(index, 0)}
        if news:
            await self._connection.execute(_SET_CLOCKS, list(news), list(news.values()))
            self._cache.clocks.update(news)

    async def _save_parts(
        self,
        anew: list[str],
        folded: Sequence[tuple[str, int, int]],
        touched: Sequence[tuple[str, int, int, bytes]],
    ) -> None:
        if anew:
            await self._connection.execute(_DROP_PARTS, anew)
        if folded:
            await self._connection.execute(_DROP_OLD_PARTS, *_columns(folded))
        if touched:
            await self._connection.execute(_SAVE_PARTS, *_columns(touched))

    async def _save_timers(self, states: Sequence[State]) -> None:
        changed = [state for state in states if self._dues.get(state.profile_id) != state.due]
        later = [(s.profile_id, slot_of(s.profile_id.encode()), s.due) for s in changed if s.due is not None]
        if later:
            await self._connection.execute(_SET_TIMERS, *_columns(later))
        never = [state.profile_id for state in changed if state.due is None]
        if never:
            await self._connection.execute(_DROP_TIMERS, never)

    async def _save_memberships(self, transitions: Sequence[Transition]) -> None:
        # Somebody may leave and come back within a batch: the last one counts.
        last: dict[tuple[str, str], Transition] = {}
        counts: Counter[tuple[str, int]] = Counter()
        for transition in transitions:
            if transition.kind in (TransitionKind.ENTERED, TransitionKind.EXITED):
                segment_id, profile_id = transition.definition_id, transition.profile_id
                last[segment_id, profile_id] = transition
                change = 1 if transition.kind is TransitionKind.ENTERED else -1
                counts[segment_id, slot_of(profile_id.encode()) % self._partitions] += change
        entered = [
            (segment_id, profile_id, t.time, t.cause_id, t.event_id)
            for (segment_id, profile_id), t in last.items()
            if t.kind is TransitionKind.ENTERED
        ]
        if entered:
            await self._connection.execute(_ENTER, *_columns(entered))
        left = [key for key, t in last.items() if t.kind is TransitionKind.EXITED]
        if left:
            await self._connection.execute(_LEAVE, *_columns(left))
        changed = [(*place, change) for place, change in sorted(counts.items()) if change]
        if changed:
            await self._connection.execute(_COUNT, *_columns(changed))


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
