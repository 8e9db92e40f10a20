"""Profile's storage in memory, for tests of the rules: a port's fake without any rule of its own."""

from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from services.profile.consent.model import Statement
from services.profile.identity.model import PROFILE_ID, Change, Event, Profile, Refusals
from services.profile.identity.ports import AddressFacts
from services.profile.identity.use_cases import Identities, Resolved
from tests.builders import event_id

Result = TypeVar("Result")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Profile).decode


def event(
    *identifiers: str,
    number: int = 0,
    at: int = 0,
    browser: bool = False,
    traits: Mapping[str, bytes | None] | None = None,
    consent: Mapping[str, bool] | None = None,
    received: int | None = None,
    profile_id: str = "",
    previous_id: str = "",
) -> Event:
    """An event with identifiers such as `u:1`, strongest first; the larger its number, the later it came."""
    return Event(
        event_id=number.to_bytes(16, "big") if number else event_id(repr((identifiers, at, browser, traits))),
        trusted=not browser,
        time=at,
        received=number if received is None else received,
        identifiers=identifiers,
        traits=traits or {},
        consent=consent or {},
        body=b"",
        profile_id=profile_id,
        previous_id=previous_id,
    )


class MemoryPeople:
    """Stores profiles as the real one does: as bytes, each batch from what the last one left."""

    def __init__(self) -> None:
        self.merges = 0
        self.histories: dict[str, list[Event]] = {}
        self.unassigned: list[Event] = []
        self.refusals: dict[tuple[str, str], Statement] = {}
        self._shares: set[tuple[str, str]] = set()
        self._survivors: dict[str, str] = {}
        self._known: set[bytes] = set()
        self._states: dict[str, bytes] = {}
        self._owners: dict[str, str | None] = {}

    async def remember(self, event_ids: Collection[bytes]) -> set[bytes]:
        new = set(event_ids) - self._known
        self._known |= new
        return new

    async def lock(self, identifiers: Collection[str]) -> tuple[dict[str, str | None], dict[str, Profile]]:
        owners = {i: self._owners[i] for i in identifiers if i in self._owners}
        named = (i for i in identifiers if i[0] == PROFILE_ID)
        owners |= {i: living for i in named if (living := self._living(i[2:])) in self._states}
        return owners, {o: _decode(self._states[o]) for o in set(owners.values()) if o is not None}

    async def lock_more(self, profile_ids: Collection[str]) -> dict[str, Profile]:
        return {profile_id: _decode(self._states[profile_id]) for profile_id in profile_ids}

    async def find_shares(self, profile_ids: Collection[str]) -> Sequence[tuple[str, str]]:
        return [(address, self._living(id_)) for address, id_ in self._shares if id_ in profile_ids]

    async def find_refusals(self, refused: Collection[str], gained: Collection[str]) -> AddressFacts:
        owners = {(address, owner) for address in refused if (owner := self._owners.get(address))}
        shares = {(a, self._living(profile_id)) for a, profile_id in self._shares if a in refused}
        known = {key: said for key, said in self.refusals.items() if key[0] in gained}
        return AddressFacts(sorted(owners | shares), known)

    async def save_refusals(self, refusals: Refusals, shares: Sequence[tuple[str, str]]) -> None:
        for key, said in refusals.items():
            self.refusals[key] = max(said, self.refusals.get(key, said))
        self._shares |= set(shares)

    async def save_owners(self, owners: Mapping[str, str | None]) -> None:
        self._owners.update(owners)

    def committed(self) -> None:
        return

    async def save(self, changes: Sequence[Change]) -> None:
        for change in changes:
            for absorbed in change.absorbed:
                self.merges += 1
                old = absorbed.profile.profile_id
                del self._states[old]
                self._survivors[old] = change.profile.profile_id
                self.histories.setdefault(change.profile.profile_id, []).extend(self.histories.pop(old))
                moved = {i: change.profile.profile_id for i, o in self._owners.items() if o == old}
                self._owners.update(moved)
            self.histories.setdefault(change.profile.profile_id, []).extend(change.events)
            self._states[change.profile.profile_id] = _encode(change.profile)

    def apply(self, *events: Event) -> Resolved:
        """Apply one batch."""
        return _run(self._apply(events))

    async def _apply(self, events: Sequence[Event]) -> Resolved:
        identities = Identities(self)
        resolved = await identities.resolve(events)
        await identities.save(resolved.changes)
        self.unassigned += resolved.unassigned
        identities.committed()
        return resolved

    def _living(self, profile_id: str) -> str:
        while profile_id in self._survivors:
            profile_id = self._survivors[profile_id]
        return profile_id

    def profiles(self) -> list[Profile]:
        """All who live."""
        return [_decode(state) for state in self._states.values()]

    def holder(self, identifier: str) -> Profile:
        """The profile that an identifier leads to."""
        owner = self._owners[identifier]
        assert owner is not None, f"{identifier} is blocked"
        return _decode(self._states[owner])

    @property
    def shared(self) -> set[str]:
        """The addresses that somebody has to whom they do not lead."""
        return {address for address, _ in self._shares}

    def is_blocked(self, identifier: str) -> bool:
        return identifier in self._owners and self._owners[identifier] is None

    def groups(self) -> list[list[str]]:
        """The identifiers of each profile."""
        return sorted(sorted(profile.identifiers) for profile in self.profiles())


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Nothing in memory waits, so no loop is needed."""
    try:
        work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise AssertionError("the fake waited")
