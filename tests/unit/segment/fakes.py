"""Segment's ports in memory; states are stored as they are in the database, as bytes."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from services.segment.domain import State, Transition, Update
from services.segment.ports import HistoryPart


class FakeStates:
    """States, timers, clocks and effects."""

    def __init__(self, partitions: int) -> None:
        self.clock_of: dict[int, int] = {}
        self.finished: dict[int, int] = {}
        self._partitions = partitions
        self._stored: dict[str, bytes] = {}
        self._dues: dict[str, int] = {}
        self._plans: dict[str, int] = {}
        self._effects: set[tuple[str, bytes]] = set()

    def index_of(self, profile_id: str) -> int:
        return sum(profile_id.encode()) % self._partitions

    def all(self) -> dict[str, State]:
        return {id_: msgspec.msgpack.decode(stored, type=State) for id_, stored in self._stored.items()}

    async def load(self, profile_ids: Collection[str]) -> dict[str, State]:
        return {
            id_: msgspec.msgpack.decode(self._stored[id_], type=State) if id_ in self._stored else State(id_)
            for id_ in profile_ids
        }

    async def due(self, clocks: Mapping[int, int], limit: int) -> list[str]:
        due = (id_ for id_, due in self._dues.items() if due <= clocks.get(self.index_of(id_), -1))
        return sorted(due, key=lambda id_: self._dues[id_])[:limit]

    async def outdated(self, indexes: Collection[int], plan: int, limit: int) -> list[str]:
        return [id_ for id_, p in self._plans.items() if p < plan and self.index_of(id_) in indexes][:limit]

    async def finish_plan(self, indexes: Collection[int], plan: int) -> None:
        self.finished.update(dict.fromkeys(indexes, plan))

    async def clocks(self, indexes: Collection[int]) -> dict[int, int]:
        return {index: self.clock_of[index] for index in indexes if index in self.clock_of}

    async def claim(self, triggered: Sequence[Transition]) -> set[tuple[str, bytes]]:
        fresh = {(t.definition_id, t.cause_id) for t in triggered} - self._effects
        self._effects |= fresh
        return fresh

    async def save(self, states: Sequence[State], transitions: Sequence[Transition]) -> None:
        for state in states:
            self._stored[state.profile_id] = msgspec.msgpack.encode(state)
            self._plans[state.profile_id] = state.plan
            self._dues.pop(state.profile_id, None)
            if state.due is not None:
                self._dues[state.profile_id] = state.due

    async def save_clocks(self, clocks: Mapping[int, int]) -> None:
        self.clock_of |= clocks


class FakeHistories:
    """Profile's histories, told in small parts; `read_as` makes updates of what they hold."""

    def __init__(
        self, histories: Mapping[str, Sequence[Any]], read_as: Callable[[Any], Update] = lambda step: step
    ) -> None:
        self._histories = histories
        self._read_as = read_as
        self.read_count = 0

    async def read(self, profile_ids: Sequence[str]) -> AsyncIterator[HistoryPart]:
        for profile_id in profile_ids:
            self.read_count += 1
            history = self._histories.get(profile_id, ())
            for step in history:
                yield HistoryPart(profile_id, [self._read_as(step)], None)
            yield HistoryPart(profile_id, [], history[-1].revision if history else 0)
