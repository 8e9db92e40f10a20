"""Decides whose a batch of events is."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libs.ids import new_uuid
from services.profile.identity.model import Change, Event, Ledger, identifiers_in
from services.profile.identity.ports import People


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a batch of events changes."""

    changes: Sequence[Change] = ()
    unassigned: Sequence[Event] = ()
    """Events that name nobody."""
    events: int = 0
    """How many were new."""
    duplicates: int = 0
    """How many were stored before, or twice in the batch: they change nothing."""
    merges: int = 0
    """How many stored profiles were absorbed."""

    @property
    def dropped(self) -> Counter[str]:
        """What had no room in its profile: how many `traits`, `identifiers` and `purposes`."""
        found: Counter[str] = Counter()
        for change in self.changes:
            if change.dropped:
                found.update(change.dropped)
        return found


class Identities:
    """Resolves batches inside their transactions."""

    def __init__(self, people: People, new_id: Callable[[], str] = new_uuid) -> None:
        self._people = people
        self._new_id = new_id

    async def resolve(self, events: Sequence[Event]) -> Resolved:
        """Find, make and merge the profiles that new events belong to; `save` stores them.

        Who owns which identifier is stored at once: a lost race is noticed before anything else is written.
        """
        fresh = await self._without_duplicates(events)
        if not fresh:
            return Resolved(duplicates=len(events))
        owners, profiles = await self._people.lock(identifiers_in(fresh))
        ledger = Ledger(profiles, owners, self._new_id)
        for event in fresh:
            ledger.apply(event)
        await self._share_refusals(ledger)
        changes = ledger.changes()
        await self._people.save_owners(ledger.owners())
        merges = sum(len(change.absorbed) for change in changes)
        return Resolved(changes, ledger.unassigned, len(fresh), len(events) - len(fresh), merges)

    async def save(self, changes: Sequence[Change]) -> None:
        """Store the changed profiles, whose steps have their revisions by now."""
        await self._people.save(changes)

    def committed(self) -> None:
        """Let caches know what is now true."""
        self._people.committed()

    async def _share_refusals(self, ledger: Ledger) -> None:
        """Let refusals count for everybody who has the address, whoever said so and whenever."""
        ledger.refuse_joined()
        refusing = ledger.refusing()
        if refusing:
            ledger.refuse_shared(await self._people.find_shares(refusing))
        gained = ledger.gained
        refused = {address for address, _ in ledger.refusals}
        if not gained and not refused:
            return
        facts = await self._people.find_refusals(refused, gained.keys())
        missing = ledger.unknown(profile_id for _, profile_id in facts.holders)
        if missing:
            ledger.add(await self._people.lock_more(missing))
        ledger.refuse(facts.holders, facts.refusals)
        shares = ledger.shares()
        if ledger.refusals or shares:
            await self._people.save_refusals(ledger.refusals, shares)

    async def _without_duplicates(self, events: Sequence[Event]) -> list[Event]:
        """The first copy of each event, where none was stored before."""
        first: dict[bytes, Event] = {}
        for event in events:
            first.setdefault(event.event_id, event)
        unknown = await self._people.remember(first)
        return [event for event_id, event in first.items() if event_id in unknown]
