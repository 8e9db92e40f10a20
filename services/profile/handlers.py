"""The use cases of profile: take events in, and answer who somebody is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from libs.errors import FailedPrecondition, NotFound
from libs.ids import new_uuid
from services.profile.domain import Event, Ledger, Profile, identifiers_in
from services.profile.ports import Directory, History, People, Step, Stream


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch."""

    events: int
    duplicates: int
    merges: int


async def apply_events(people: People, events: Sequence[Event]) -> Applied:
    """Apply a batch inside its transaction; an event that was stored before changes nothing."""
    fresh = await _without_duplicates(people, events)
    if not fresh:
        return Applied(0, len(events), 0)
    owners, profiles = await people.lock(identifiers_in(fresh))
    ledger = Ledger(profiles, owners, new_uuid)
    for event in fresh:
        ledger.apply(event)
    changes = ledger.changes()
    await people.save(changes, ledger.owners())
    merges = sum(len(change.absorbed) for change in changes)
    return Applied(len(fresh), len(events) - len(fresh), merges)


async def _without_duplicates(people: People, events: Sequence[Event]) -> list[Event]:
    """The first copy of each event, where none was stored before."""
    first: dict[bytes, Event] = {}
    for event in events:
        first.setdefault(event.event_id, event)
    unknown = await people.claim(first)
    return [event for event_id, event in first.items() if event_id in unknown]


class Profiles:
    """Answers about profiles."""

    def __init__(self, directory: Directory, stream: Stream) -> None:
        self._directory = directory
        self._stream = stream

    async def get(self, profile_id: str, min_revision: int = 0) -> Profile:
        """One profile by its id, or that of one that it absorbed."""
        found = await self._directory.get([profile_id])
        names = {"profile_id": profile_id}
        return _at_least(found.get(profile_id), min_revision, f"profile {profile_id}", names)

    async def find(self, identifier: str, min_revision: int = 0) -> Profile:
        """One profile by any of its identifiers."""
        return _at_least(await self._directory.find(identifier), min_revision, "that identifier", {})

    async def batch(self, profile_ids: Sequence[str]) -> Mapping[str, Profile]:
        """Many profiles by the ids asked for."""
        return await self._directory.get(profile_ids)

    async def page(self, after: str, limit: int) -> tuple[list[Profile], int]:
        """A page of profiles by id, and how many there are in all."""
        return await self._directory.page(after, limit), await self._directory.count()

    async def steps(self, profile_id: str, before: int, limit: int) -> list[Step]:
        """A profile's last steps below a revision, last first."""
        profile = await self.get(profile_id)
        return await self._directory.recent_steps(profile.profile_id, before, limit)

    def histories(self, profile_ids: Sequence[str], after: Mapping[str, int]) -> AsyncIterator[History]:
        """Histories behind a revision each, whole where there is none, for those who rebuild."""
        return self._directory.histories(profile_ids, after)

    async def resend(self, profile_ids: Sequence[str]) -> Mapping[str, int]:
        """Let readers that lack something of these profiles notice it."""
        return await self._stream.resend(profile_ids)


def _at_least(profile: Profile | None, min_revision: int, asked: str, names: Mapping[str, str]) -> Profile:
    if profile is None:
        raise NotFound(f"nobody has {asked}", **names)
    if profile.revision < min_revision:
        raise FailedPrecondition(
            f"{asked} is at revision {profile.revision}, not yet at {min_revision}", revision=profile.revision
        )
    return profile
