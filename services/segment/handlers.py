"""The use cases of segment: follow the stream, let time pass, compute what was defined anew."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from libs.errors import Invalid, NotFound, Unavailable
from services.segment.domain import (
    DAY,
    SECOND,
    Membership,
    SegmentDefinition,
    State,
    Transition,
    TransitionKind,
    TriggerDefinition,
    Update,
)
from services.segment.evaluation import Plan
from services.segment.ports import Definitions, Histories, Members, States
from services.segment.rules import RuleError, parse_rule

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_REBUILT_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Followed:
    """What a batch did."""

    transitions: Sequence[Transition]
    rebuilt: int


class Follower:
    """Keeps the people of some partitions exact, one batch at a time, inside its transaction."""

    def __init__(
        self, plan: Plan, states: States, histories: Histories, index_of: Callable[[str], int]
    ) -> None:
        self._plan = plan
        self._states = states
        self._histories = histories
        self._index_of = index_of

    async def follow(self, updates: Sequence[Update], clocks: Mapping[int, int], now: int) -> Followed:
        """Apply updates, then let time pass up to the clocks that came with them.

        `clocks` are by partition index; `now` is where a partition starts that never had a clock.
        """
        by_profile: dict[str, list[Update]] = {}
        for update in updates:
            by_profile.setdefault(update.profile_id, []).append(update)
        times = await self._times({self._index_of(id_) for id_ in by_profile} | clocks.keys(), clocks, now)
        due = await self._states.due({index: times[index] for index in clocks})
        states = await self._states.load({*by_profile, *due})
        behind = [id_ for id_, state in states.items() if self._behind(state, by_profile.get(id_, []))]
        for profile_id, unseen in by_profile.items():
            if profile_id not in behind:
                self._apply(states[profile_id], unseen)
        for first in range(0, len(behind), _REBUILT_AT_ONCE):
            await self._rebuild(states, behind[first : first + _REBUILT_AT_ONCE], by_profile)
        transitions = await self._advance(list(states.values()), times)
        await self._states.save(list(states.values()), transitions, times)
        return Followed(transitions, len(behind))

    async def catch_up(self, indexes: Sequence[int], limit: int, now: int) -> Followed | None:
        """Bring some states of an older plan up to this one; None where there are none left."""
        outdated = await self._states.outdated(indexes, self._plan.version, limit)
        if not outdated:
            await self._states.finish_plan(indexes, self._plan.version)
            return None
        times = await self._times({self._index_of(profile_id) for profile_id in outdated}, {}, now)
        states = await self._states.load(outdated)
        behind = [id_ for id_, state in states.items() if self._behind(state, [])]
        for first in range(0, len(behind), _REBUILT_AT_ONCE):
            await self._rebuild(states, behind[first : first + _REBUILT_AT_ONCE], {})
        transitions = await self._advance(list(states.values()), times)
        await self._states.save(list(states.values()), transitions, {})
        return Followed(transitions, len(behind))

    async def _times(self, indexes: set[int], clocks: Mapping[int, int], now: int) -> dict[int, int]:
        known = await self._states.clocks(indexes)
        return {index: max(known.get(index, 0), clocks.get(index, 0)) or now for index in indexes}

    def _behind(self, state: State, updates: Sequence[Update]) -> bool:
        """Whether the state lacks something that only the whole history tells."""
        expected = state.revision + 1
        for update in updates:
            if update.revision > expected:
                return True
            expected = max(expected, update.revision + 1)
        return (
            state.revision > 0 and state.merged_into is None and state.plan < self._plan.needs_history_since
        )

    def _apply(self, state: State, updates: Sequence[Update]) -> None:
        for update in updates:
            if update.revision > state.revision:
                self._plan.apply(state, update)

    async def _rebuild(
        self, states: dict[str, State], profile_ids: Sequence[str], updates: Mapping[str, Sequence[Update]]
    ) -> None:
        """Compute states from their histories, which hold the updates at hand and maybe later ones."""
        histories = await self._histories.read(profile_ids)
        for profile_id in profile_ids:
            history, old = histories[profile_id], states[profile_id]
            known = max((update.revision for update in updates.get(profile_id, ())), default=old.revision)
            if history.revision < known:
                raise Unavailable(f"the history of {profile_id} is of an older revision than its updates")
            rebuilt = State(profile_id, as_of=old.as_of, memberships=old.memberships)
            for update in history.updates:
                self._plan.apply(rebuilt, update)
            rebuilt.revision = history.revision
            states[profile_id] = rebuilt

    async def _advance(self, states: Sequence[State], times: Mapping[int, int]) -> list[Transition]:
        transitions: list[Transition] = []
        for state in states:
            state.plan = self._plan.version
            transitions += self._plan.advance(state, times[self._index_of(state.profile_id)])
        triggered = [t for t in transitions if t.kind is TransitionKind.TRIGGERED]
        if not triggered:
            return transitions
        first = await self._states.claim(triggered)
        return [
            t
            for t in transitions
            if t.kind is not TransitionKind.TRIGGERED or (t.definition_id, t.cause_id) in first
        ]


class Segments:
    """Definitions, and who is in them."""

    def __init__(self, definitions: Definitions, members: Members) -> None:
        self._definitions = definitions
        self._members = members

    async def put_segment(self, definition: SegmentDefinition) -> SegmentDefinition:
        """Create a segment or change it; Invalid where its expression can't be understood."""
        _check_id("segment.segment_id", definition.segment_id)
        _check_name("segment.display_name", definition.display_name)
        _check_rule("segment.expression", definition.expression)
        return await self._definitions.put_segment(definition)

    async def put_trigger(self, definition: TriggerDefinition) -> TriggerDefinition:
        """Create a trigger or change it; Invalid names the wrong field."""
        _check_id("trigger.trigger_id", definition.trigger_id)
        _check_name("trigger.display_name", definition.display_name)
        if not definition.event_name:
            raise Invalid("trigger.event_name", "is required")
        if not SECOND <= definition.delay <= 30 * DAY:
            raise Invalid("trigger.delay", "must be from 1 second to 30 days")
        if definition.event_name in definition.unless:
            raise Invalid("trigger.unless_event_names", "must not hold the event that starts the wait")
        if definition.condition:
            _check_rule("trigger.condition", definition.condition)
        unless = tuple(sorted(set(definition.unless)))
        return await self._definitions.put_trigger(replace(definition, unless=unless))

    async def segment(self, segment_id: str) -> SegmentDefinition:
        """One segment."""
        for definition in await self._definitions.segments():
            if definition.segment_id == segment_id:
                return definition
        raise NotFound(f"there is no segment {segment_id}", segment_id=segment_id)

    async def segments(self) -> list[SegmentDefinition]:
        """All segments, by id."""
        return await self._definitions.segments()

    async def triggers(self) -> list[TriggerDefinition]:
        """All triggers, by id."""
        return await self._definitions.triggers()

    async def delete_segment(self, segment_id: str) -> None:
        """Its members leave it."""
        if not await self._definitions.delete_segment(segment_id):
            raise NotFound(f"there is no segment {segment_id}", segment_id=segment_id)

    async def delete_trigger(self, trigger_id: str) -> None:
        """Waits that go on end without it."""
        if not await self._definitions.delete_trigger(trigger_id):
            raise NotFound(f"there is no trigger {trigger_id}", trigger_id=trigger_id)

    async def members(self, segment_id: str, after: str, limit: int) -> list[tuple[str, Membership]]:
        """A page of members, by profile id."""
        await self.segment(segment_id)
        return await self._members.page(segment_id, after, limit)

    async def memberships(self, profile_ids: Sequence[str]) -> list[tuple[str, str, Membership]]:
        """The memberships (profile, segment, since when) of some profiles."""
        return await self._members.of(profile_ids)


def _check_id(field: str, value: str) -> None:
    if not _ID.fullmatch(value):
        raise Invalid(field, "must be lower-case letters, digits, - and _, at most 63")


def _check_name(field: str, value: str) -> None:
    if len(value) > 200 or "\0" in value:
        raise Invalid(field, "must have at most 200 characters")


def _check_rule(field: str, text: str) -> None:
    try:
        parse_rule(text)
    except RuleError as error:
        raise Invalid(field, str(error)) from None
