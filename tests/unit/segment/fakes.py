"""Segment's ports in memory; states are stored as they are in the database, as bytes."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from libs.profile_feed import HistoryPart
from services.segment.membership.model import State, Transition, Update
from services.segment.membership.ports import Effect, Loaded


class FakeStates:
    """States, timers, clocks and effects."""

    def __init__(self, partitions: int) -> None:
        self.clock_of: dict[int, int] = {}
        self.finished: dict[int, int] = {}
        self._partitions = partitions
        self._stored: dict[str, bytes] = {}
        self._dues: dict[str, int] = {}
        self._plans: dict[str, int] = {}
        self.aside: dict[str, str] = {}
        self.retried: set[str] = set()
        self.spoilt: set[str] = set()
        self._effects: set[Effect] = set()
        self._withdrawn: set[Effect] = set()

    def index_of(self, profile_id: str) -> int:
        return sum(profile_id.encode()) % self._partitions

    def all(self) -> dict[str, State]:
        return {id_: msgspec.msgpack.decode(stored, type=State) for id_, stored in self._stored.items()}

    async def load(self, profile_ids: Collection[str]) -> Loaded:
        states = {
            id_: msgspec.msgpack.decode(self._stored[id_], type=State) if id_ in self._stored else State(id_)
            for id_ in profile_ids
        }
        unreadable = self.spoilt & states.keys()
        self.spoilt -= unreadable
        for id_ in unreadable:
            old = states[id_]
            states[id_] = State(id_, writes=old.writes, memberships=old.memberships, anew=True)
        return Loaded(states, dict.fromkeys(unreadable, "spoilt"), self.aside.keys() & states.keys())

    async def due(self, clocks: Mapping[int, int], limit: int) -> list[str]:
        due = (id_ for id_, due in self._dues.items() if due <= clocks.get(self.index_of(id_), -1))
        return sorted(due, key=lambda id_: self._dues[id_])[:limit]

    async def outdated(self, indexes: Collection[int], plan: int, limit: int) -> list[str]:
        outdated = (id_ for id_, p in self._plans.items() if p < plan and id_ not in self.aside)
        return [id_ for id_ in outdated if self.index_of(id_) in indexes][:limit]

    async def to_rebuild(self, indexes: Collection[int], limit: int) -> list[str]:
        return [id_ for id_ in sorted(self.retried) if self.index_of(id_) in indexes][:limit]

    async def set_aside(self, reasons: Mapping[str, str]) -> None:
        self.aside |= reasons
        for id_ in reasons:
            self._dues.pop(id_, None)
        self.retried -= reasons.keys()

    async def finish_plan(self, indexes: Collection[int], plan: int) -> None:
        self.finished.update(dict.fromkeys(indexes, plan))

    async def clocks(self, indexes: Collection[int]) -> dict[int, int]:
        return {index: self.clock_of[index] for index in indexes if index in self.clock_of}

    async def claim(self, triggered: Sequence[Transition]) -> set[Effect]:
        fresh = {Effect(t.definition_id, t.cause_id) for t in triggered} - self._effects
        self._effects |= fresh
        return fresh

    async def withdraw(self, withdrawn: Sequence[Transition]) -> set[Effect]:
        wanted = {Effect(t.definition_id, t.cause_id) for t in withdrawn}
        taken = (wanted & self._effects) - self._withdrawn
        self._withdrawn |= taken
        return taken

    async def save(self, states: Sequence[State], transitions: Sequence[Transition]) -> None:
        for state in states:
            state.writes += 1
            self.aside.pop(state.profile_id, None)
            self.retried.discard(state.profile_id)
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
        self.at_once = 1_000_000
        self.unreadable: set[str] = set()

    async def read(self, after: Mapping[str, int]) -> AsyncIterator[HistoryPart[Update]]:
        left = self.at_once
        for profile_id, revision in after.items():
            self.read_count += 1
            history = self._histories.get(profile_id, ())
            if profile_id in self.unreadable:
                yield HistoryPart(profile_id, problem="dirt")
                continue
            for step in history:
                if step.revision > revision:
                    if not left:
                        return
                    left -= 1
                    yield HistoryPart(profile_id, [self._read_as(step)])
            yield HistoryPart(profile_id, [], history[-1].revision if history else 0)
