"""Decides whose each event is, and what it changes: identity in plain Python.

An event belongs to the profile of its strongest identifier, and identifiers seen together belong
together, within limits: a profile has one user id; a blocked value joins nobody; an address seen
under two user ids joins nobody. Every rule is a function of the events alone, so that any order of
arrival gives the same traits, and the same identities where no limit was met.

What only a browser has linked to the rest of a profile is a claim, since its key is public: else a
stranger could link his device to a victim's user id, order as a guest with an address of his own,
and get the victim's mail. So a claim never carries an address that a server gave from one profile
to another, an event that finds a profile by claims alone has no say on its address, and a claim
gives way to what a server says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from services.profile.consent.model import MOST_PURPOSES, Choice
from services.profile.identity.model.addresses import KIND_OF_TRAIT, address_in
from services.profile.identity.model.identifiers import ADDRESSES, is_blocked_value, kind_of
from services.profile.identity.model.profiles import MOST_IDENTIFIERS, Change, Event, Profile
from services.profile.traits.model import MOST_TRAIT_BYTES, Trait, size_of, trait_wins


class Ledger:
    """Applies events one after another to the profiles that they concern."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        owners: Mapping[str, str | None],
        new_id: Callable[[], str],
    ) -> None:
        """Start from stored profiles and from who owns which identifier: None is blocked for good."""
        self._changes = {profile_id: Change(profile) for profile_id, profile in profiles.items()}
        self._owners = dict(owners)
        self._new_id = new_id
        self._survivors: dict[str, str] = {}
        self._assigned: list[tuple[str, Event]] = []

    def apply(self, event: Event) -> None:
        """Decide whose event it is, and let it change that profile."""
        change = self._resolve(event)
        profile = change.profile
        self._assigned.append((profile.profile_id, event))
        profile.events += 1
        profile.created = min(profile.created, event.received)
        if event.traits:
            trusted = self._is_sure(event, profile)
            for name, value in event.traits.items():
                if trusted or self._may_claim(profile, event, name, value):
                    self._set_trait(change, name, Trait(value, event.time, event.event_id, trusted))
        for purpose, granted in event.consent.items():
            self._set_consent(change, purpose, Choice(granted, event.time, event.event_id))

    def changes(self) -> list[Change]:
        """All that changed, each event with the profile that owns it in the end, by profile id."""
        for profile_id, event in self._assigned:
            self._changes[self._survivor(profile_id)].events.append(event)
        self._assigned.clear()
        living = (c for profile_id, c in self._changes.items() if profile_id not in self._survivors)
        return sorted((c for c in living if c.touched), key=lambda c: c.profile.profile_id)

    def owners(self) -> Mapping[str, str | None]:
        """Who owns each identifier now."""
        return {i: owner and self._survivor(owner) for i, owner in self._owners.items()}

    def _resolve(self, event: Event) -> Change:
        return self._of_one(event) or self._decide(event)

    def _of_one(self, event: Event) -> Change | None:
        """The profile that has all the identifiers, none by a claim alone: nothing is to be decided."""
        owners = {self._owners.get(identifier) for identifier in event.identifiers}
        change = self._changes.get(owners.pop() or "") if len(owners) == 1 else None
        if change is None or change.profile.claimed or change.profile.profile_id in self._survivors:
            return None
        # A browser's word on nothing but addresses finds nobody.
        named = event.trusted or any(kind_of(i) not in ADDRESSES for i in event.identifiers)
        return change if named else None

    def _decide(self, event: Event) -> Change:
        usable = [i for i in event.identifiers if not self._is_blocked(i)]
        # A browser's word on an address neither finds nor joins a profile.
        naming = usable if event.trusted else [i for i in usable if kind_of(i) not in ADDRESSES]
        owner = self._owner(naming[0]) if naming else None
        if owner is not None and self._is_outdated(self._changes[owner].profile, naming):
            self._detach(self._changes[owner], naming[0])
            owner = None
        change = self._create(event) if owner is None else self._changes[owner]
        for identifier in naming:
            change = self._unite(change, identifier, event)
        if not event.trusted:
            for identifier in usable:
                if self._owner(identifier) is None and not change.profile.has_kind(kind_of(identifier)):
                    self._attach(change, identifier, sure=False)
        return change

    def _is_sure(self, event: Event, profile: Profile) -> bool:
        """Whether a server names this profile, and by more than claims."""
        if not event.trusted or not profile.claimed:
            return event.trusted
        led = [i for i in event.identifiers if self._owner(i) == profile.profile_id]
        return not led or any(i not in profile.claimed for i in led)

    def _is_outdated(self, profile: Profile, naming: Sequence[str]) -> bool:
        """Whether an address leads here by a claim alone, and a server has given another one since."""
        strongest = naming[0]
        if strongest not in profile.claimed or kind_of(strongest) not in ADDRESSES:
            return False
        others = (i for i in naming if self._owner(i) == profile.profile_id)
        return profile.was_given(kind_of(strongest)) and all(i in profile.claimed for i in others)

    def _unite(self, change: Change, identifier: str, event: Event) -> Change:
        """Make the identifier this profile's, merging if it is another's; return the survivor."""
        owner = self._owner(identifier)
        sure = self._is_sure(event, change.profile)
        if owner is None:
            self._attach(change, identifier, sure)
            return change
        other = self._changes[owner]
        if other is not change:
            linked = sure and identifier not in other.profile.claimed
            if not self._may_merge(change, other, linked):
                if sure and kind_of(identifier) in ADDRESSES:
                    self._contest(change, other, identifier)
                return change
            change = self._merge(change, other, linked)
        if sure:
            change.profile.claimed.discard(identifier)
        return change

    def _may_merge(self, one: Change, other: Change, sure: bool) -> bool:
        """Whether no limit forbids it; a claim must not carry an address to a profile that has one."""
        first, second = (change.profile for change in _survivor_first(one, other))
        if second.user_id is not None:
            return False
        if len(first.identifiers) + len(second.identifiers) > MOST_IDENTIFIERS:
            return False
        if sure:
            return True
        given = any(name in KIND_OF_TRAIT and trait.trusted for name, trait in second.traits.items())
        return not given and not any(
            second.was_given(kind) or (first.has_kind(kind) and second.has_kind(kind)) for kind in ADDRESSES
        )

    def _merge(self, one: Change, other: Change, sure: bool) -> Change:
        """The survivor is the one with the user id, else the older."""
        first, second = _survivor_first(one, other)
        survivor, absorbed = first.profile, second.profile
        for name, trait in absorbed.traits.items():
            # Where the survivor has an address, one that was only claimed is not its first.
            kind = KIND_OF_TRAIT.get(name)
            if trait.trusted or kind is None or not survivor.has_kind(kind):
                self._set_trait(first, name, trait)
        for purpose, choice in absorbed.consent.items():
            self._set_consent(first, purpose, choice)
        for identifier in absorbed.identifiers:
            self._owners[identifier] = survivor.profile_id
        survivor.identifiers += absorbed.identifiers
        survivor.claimed |= absorbed.claimed if sure else set(absorbed.identifiers)
        for identifier in absorbed.identifiers:
            first.gain(identifier)
        survivor.events += absorbed.events
        survivor.created = min(survivor.created, absorbed.created)
        survivor.absorbed += absorbed.absorbed
        first.absorbed += second.absorbed
        second.absorbed = []
        if not second.is_new:
            survivor.absorbed.append(absorbed.profile_id)
            first.absorbed.append(second)
        self._survivors[absorbed.profile_id] = survivor.profile_id
        return first

    def _contest(self, change: Change, holder: Change, address: str) -> None:
        """A server gives somebody an address that another has, whom it can't be merged with."""
        if address in holder.profile.claimed and change.profile.has_space:
            self._detach(holder, address)
            self._attach(change, address, sure=True)
        elif change.profile.user_id is not None and holder.profile.user_id is not None:
            # Seen under two user ids: from now on it joins nobody.
            self._detach(holder, address)
            self._owners[address] = None

    def _attach(self, change: Change, identifier: str, sure: bool) -> None:
        profile = change.profile
        if not profile.has_space:
            return
        if profile.identifiers and not sure:
            profile.claimed.add(identifier)
        self._owners[identifier] = profile.profile_id
        profile.identifiers.append(identifier)
        change.gain(identifier)

    def _detach(self, holder: Change, identifier: str) -> None:
        del self._owners[identifier]
        holder.profile.identifiers.remove(identifier)
        holder.profile.claimed.discard(identifier)
        holder.lose(identifier)

    def _create(self, event: Event) -> Change:
        profile = Profile(self._new_id(), created=event.received)
        change = self._changes[profile.profile_id] = Change(profile, is_new=True)
        return change

    def _owner(self, identifier: str) -> str | None:
        owner = self._owners.get(identifier)
        return None if owner is None else self._survivor(owner)

    def _is_blocked(self, identifier: str) -> bool:
        return is_blocked_value(identifier) or (
            identifier in self._owners and self._owners[identifier] is None
        )

    def _survivor(self, profile_id: str) -> str:
        while profile_id in self._survivors:
            profile_id = self._survivors[profile_id]
        return profile_id

    def _may_claim(self, profile: Profile, event: Event, name: str, value: bytes | None) -> bool:
        """A claim may name an address only where it became the profile's own identifier."""
        kind = KIND_OF_TRAIT.get(name)
        if kind is None:
            return True
        identifier = f"{kind}:{address_in(kind, value)}"
        return identifier in event.identifiers and identifier in profile.identifiers

    def _set_trait(self, change: Change, name: str, trait: Trait) -> None:
        traits = change.profile.traits
        old = traits.get(name)
        if not trait_wins(name, trait, old):
            return
        if change.trait_bytes < 0:
            change.trait_bytes = sum(size_of(n, t) for n, t in traits.items())
        growth = size_of(name, trait) - size_of(name, old)
        if growth > 0 and change.trait_bytes + growth > MOST_TRAIT_BYTES:
            return
        change.trait_bytes += growth
        traits[name] = trait
        change.traits.add(name)

    def _set_consent(self, change: Change, purpose: str, choice: Choice) -> None:
        consent = change.profile.consent
        old = consent.get(purpose)
        if old is None and len(consent) >= MOST_PURPOSES:
            return
        if old is None or (choice.time, choice.event_id) > (old.time, old.event_id):
            consent[purpose] = choice
            change.consent.add(purpose)


def _survivor_first(one: Change, other: Change) -> list[Change]:
    """The survivor of a merge is the one with the user id, else the older."""
    return sorted(
        (one, other), key=lambda c: (c.profile.user_id is None, c.profile.created, c.profile.profile_id)
    )


def identifiers_in(events: Iterable[Event]) -> set[str]:
    """All identifiers that may name somebody."""
    return {i for event in events for i in event.identifiers if not is_blocked_value(i)}
