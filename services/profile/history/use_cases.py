"""Records what happened to whom, step by step, and tells it again."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from libs.errors import NotFound
from libs.ids import uuid_text, uuid_texts
from services.profile.history.model import HistoryPart, Step, UnassignedEvent
from services.profile.history.ports import Encoder, Histories, Steps, Stream
from services.profile.identity.model import Change, Event
from services.profile.identity.use_cases import Identities, Resolved

MOST_IDS = 1_000
# A step may hold half a megabyte of events.
_STEPS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: the steps that tell of it, in order, and what they come from."""

    resolved: Resolved
    steps: Sequence[Step] = ()


class Recorder:
    """Takes a batch of events in, inside its transaction."""

    def __init__(self, identities: Identities, steps: Steps, encoder: Encoder) -> None:
        self._identities = identities
        self._steps = steps
        self._encoder = encoder

    async def record(self, events: Sequence[Event]) -> Recorded:
        """Decide whose the events are; store the steps of those lives, and the profiles as they are now."""
        resolved = await self._identities.resolve(events)
        if resolved.unassigned:
            await self._steps.keep_unassigned(resolved.unassigned)
        if not resolved.changes:
            return Recorded(resolved)
        moved, tombstones = await self._absorb(resolved.changes)
        own = [step for change in resolved.changes for step in self._steps_of(change)]
        await self._steps.append([(s.profile_id, s.revision, s.body) for s in (*tombstones, *own)])
        await self._identities.save(resolved.changes)
        return Recorded(resolved, [*moved, *tombstones, *own])

    def committed(self) -> None:
        """Let caches know what is now true."""
        self._identities.committed()

    def _steps_of(self, change: Change) -> list[Step]:
        """A change as the profile's next steps."""
        profile = change.profile
        bodies = self._encoder.bodies_of(change)
        first = profile.revision + 1
        profile.revision += len(bodies)
        return [
            Step(profile.profile_id, revision, body, more=revision < profile.revision, causes=change.events)
            for revision, body in enumerate(bodies, first)
        ]

    async def _absorb(self, changes: Sequence[Change]) -> tuple[list[Step], list[Step]]:
        """Move the absorbed profiles' histories behind their survivors'; returns those and the tombstones.

        A survivor's row may not exist yet: it is saved with the same batch.
        """
        pairs = [(absorbed.profile, change.profile) for change in changes for absorbed in change.absorbed]
        if not pairs:
            return [], []
        survivors = {survivor.profile_id: survivor for _, survivor in pairs}
        moves = [(a.profile_id, s.profile_id, s.revision) for a, s in pairs]
        moved = []
        for profile_id, revision, body in await self._steps.move(moves):
            survivors[profile_id].revision = revision
            moved.append(Step(profile_id, revision, body, moved=True, more=True))
        tombstones = []
        for absorbed, survivor in pairs:
            absorbed.revision += 1
            body = self._encoder.tombstone_of(survivor.profile_id)
            tombstones.append(Step(absorbed.profile_id, absorbed.revision, body))
        return moved, tombstones


class Place(NamedTuple):
    """Where an event stands in a history."""

    revision: int
    number: int
    """Its place in the step."""


_NEWEST = Place(1 << 62, 0)


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of a profile's events, last applied first."""

    events: Sequence[bytes]
    """Each as it was collected."""
    last: Place | None
    """Before which the next page begins; None on the last."""


class History:
    """Answers what happened."""

    def __init__(
        self, histories: Histories, stream: Stream, events_in: Callable[[bytes], Sequence[bytes]]
    ) -> None:
        """`events_in` reads the events of a step from its body."""
        self._histories = histories
        self._stream = stream
        self._events_in = events_in

    async def events(self, profile_id: str, before: Place | None, limit: int) -> EventPage:
        """A page of the events of a profile, or of the one that absorbed it."""
        asked = uuid_text(profile_id, "profile_id")
        living = await self._histories.living(asked)
        if living is None:
            raise NotFound(f"nobody has profile {asked}", profile_id=asked)
        before = before or _NEWEST
        found: list[tuple[Place, bytes]] = []
        # A step holds at least no event and at most many: read steps until the page is full.
        upto = before.revision + 1
        while len(found) <= limit:
            steps = await self._histories.recent_steps(living, upto, _STEPS_AT_ONCE)
            for step in steps:
                events = list(enumerate(self._events_in(step.body)))
                places = ((Place(step.revision, number), event) for number, event in reversed(events))
                found += [(place, event) for place, event in places if place < before]
            if len(steps) < _STEPS_AT_ONCE:
                break
            upto = steps[-1].revision
        page = found[:limit]
        last = page[-1][0] if len(found) > limit else None
        return EventPage([event for _, event in page], last)

    async def unassigned(
        self, before: tuple[int, str] | None, limit: int
    ) -> tuple[list[UnassignedEvent], bool]:
        """A page of the events that name nobody, and whether there are more."""
        found = await self._histories.unassigned(before, limit + 1)
        return found[:limit], len(found) > limit

    def read(self, profile_ids: Sequence[str], after: Mapping[str, int]) -> AsyncIterator[HistoryPart]:
        """Histories behind a revision each, whole where none is named, for those who rebuild."""
        return self._histories.read(uuid_texts(profile_ids, "profile_ids", MOST_IDS), after)

    async def resend(self, profile_ids: Sequence[str]) -> Mapping[str, int]:
        """Let readers that lack something of these profiles notice it."""
        return await self._stream.resend(uuid_texts(profile_ids, "profile_ids", MOST_IDS))
