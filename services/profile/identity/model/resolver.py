"""Decides who is who: which profile an event belongs to, and what its identifiers join.

An event belongs to the profile of its strongest identifier, and identifiers seen together belong
together, within limits: a profile has one user id; a blocked value joins nobody; an address seen under
two user ids joins nobody; nor does a device from which different addresses came. An event that names
nobody by anything else is nobody's.

What only a browser has linked to the rest of a profile is a claim, since its key is public: else a
stranger could link his device to a victim's user id, order as a guest with an address of his own,
and get the victim's mail. So a claim never carries an address that a server gave from one profile
to another, an event that finds a profile by claims alone has no say on its address, and a claim
gives way to what a server says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from services.profile.identity.model.addresses import KIND_OF_TRAIT
from services.profile.identity.model.blocked import is_blocked_value
from services.profile.identity.model.identifiers import (
    ADDRESSES,
    ANONYMOUS_ID,
    PROFILE_ID,
    USER_ID,
    kind_of,
)
from services.profile.identity.model.profiles import MOST_IDENTIFIERS, Change, Event, Profile


class Resolver:
    """Keeps who owns which identifier while a batch is applied, and merges who is one."""

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
        self.has_contested = None in self._owners.values()
        """Whether there is any identifier that joins nobody."""

    def resolve(self, event: Event) -> Change | None:
        """The profile that the event belongs to, made and merged where need be; None for nobody's."""
        return self._of_one(event) or self._decide(event)

    def add(self, profiles: Mapping[str, Profile]) -> None:
        """Take in further stored profiles."""
        self._changes |= {profile_id: Change(profile) for profile_id, profile in profiles.items()}

    def unknown(self, profile_ids: Iterable[str]) -> set[str]:
        """Which of these profiles are not known here."""
        return {profile_id for profile_id in profile_ids if profile_id not in self._changes}

    def is_contested(self, identifier: str) -> bool:
        """Whether an identifier joins nobody, since it is several people's."""
        return identifier in self._owners and self._owners[identifier] is None

    def living(self) -> list[Change]:
        """All profiles that were not merged into others."""
        return [c for profile_id, c in self._changes.items() if profile_id not in self._survivors]

    def change_of(self, profile_id: str) -> Change:
        """A profile by its id, or by that of one that it has absorbed."""
        return self._changes[self._survivor(profile_id)]

    def owner(self, identifier: str) -> str | None:
        """Who owns an identifier."""
        owner = self._owners.get(identifier)
        return None if owner is None else self._survivor(owner)

    def owners(self) -> Mapping[str, str | None]:
        """Who owns each identifier now; None: it joins nobody."""
        return {
            i: owner and self._survivor(owner)
            for i, owner in self._owners.items()
            if kind_of(i) != PROFILE_ID
        }

    def is_sure(self, event: Event, profile: Profile) -> bool:
        """Whether a server names this profile, and by more than claims."""
        if not event.trusted or not profile.claimed:
            return event.trusted
        led = [i for i in event.identifiers if self.owner(i) == profile.profile_id]
        return not led or any(i not in profile.claimed for i in led)

    def _of_one(self, event: Event) -> Change | None:
        """The profile that has all the identifiers, none by a claim alone: nothing is to be decided."""
        if event.profile_id:
            return None
        owners = {self._owners.get(identifier) for identifier in event.identifiers}
        change = self._changes.get(owners.pop() or "") if len(owners) == 1 else None
        if change is None or change.profile.claimed or change.profile.profile_id in self._survivors:
            return None
        if event.trusted:
            return change if len(event.identifiers) == 1 or _knows_devices(change.profile, event) else None
        # A browser's word on nothing but addresses finds nobody.
        return change if any(i[0] not in ADDRESSES for i in event.identifiers) else None

    def _decide(self, event: Event) -> Change | None:
        named = self.owner(f"{PROFILE_ID}:{event.profile_id}") if event.profile_id else None
        if named is not None:
            # A page of ours tells whom it was made for: that joins nobody to anybody.
            return self._changes[named]
        usable = [i for i in event.identifiers if not self._names_nobody(i, event)]
        # A browser's word on an address neither finds nor joins a profile.
        naming = usable if event.trusted else [i for i in usable if i[0] not in ADDRESSES]
        claims = [] if event.trusted else [i for i in usable if self.owner(i) is None]
        if not naming and not claims:
            return None
        owner = self.owner(naming[0]) if naming else None
        if owner is not None and self._is_outdated(self._changes[owner].profile, naming):
            self._detach(self._changes[owner], naming[0])
            owner = None
        change = self._create(event) if owner is None else self._changes[owner]
        for identifier in naming:
            addresses = _addresses_beside(event) if identifier[0] == ANONYMOUS_ID and event.trusted else ()
            if addresses and self._is_shared_device(identifier, addresses, change.profile):
                self._block(self.change_of(self._owners[identifier] or ""), identifier)
                continue
            change = self._unite(change, identifier, event)
            if addresses:
                self._note_device(identifier, addresses)
        for identifier in claims:
            if self.owner(identifier) is None and not change.profile.has_kind(kind_of(identifier)):
                self._attach(change, identifier, sure=False)
        return change

    def _names_nobody(self, identifier: str, event: Event) -> bool:
        if identifier not in self._owners:
            nobodys = is_blocked_value(identifier)
        else:
            nobodys = self._owners[identifier] is None
        return nobodys or (bool(event.previous_id) and self._is_user_id(identifier, event.previous_id))

    def _is_user_id(self, identifier: str, previous_id: str) -> bool:
        """Whether an alias names somebody's user id where an anonymous id belongs."""
        if identifier != f"{ANONYMOUS_ID}:{previous_id}":
            return False
        return self.owner(f"{USER_ID}:{previous_id}") is not None

    def _is_outdated(self, profile: Profile, naming: Sequence[str]) -> bool:
        """Whether an address leads here by a claim alone, and a server has given another one since."""
        strongest = naming[0]
        if strongest not in profile.claimed or kind_of(strongest) not in ADDRESSES:
            return False
        others = (i for i in naming if self.owner(i) == profile.profile_id)
        return profile.was_given(kind_of(strongest)) and all(i in profile.claimed for i in others)

    def _note_device(self, device: str, addresses: Sequence[str]) -> None:
        """Keep which addresses come with a device, whoever has it."""
        holder = self.owner(device)
        if holder is None:
            return
        change = self._changes[holder]
        seen = change.profile.devices.get(device, ())
        new = [a for a in addresses if all(kind_of(a) != kind_of(known) for known in seen)]
        if new:
            change.profile.devices[device] = [*seen, *new]
            change.is_noted = True

    def _is_shared_device(self, device: str, addresses: Sequence[str], profile: Profile) -> bool:
        """Whether another address of the same kind came from it before, which is not this person's."""
        holder = self.owner(device)
        seen = () if holder is None else self._changes[holder].profile.devices.get(device, ())
        strangers = [address for address in seen if address not in profile.identifiers]
        return any(
            kind_of(stranger) == kind_of(address) and stranger != address
            for stranger in strangers
            for address in addresses
        )

    def _unite(self, change: Change, identifier: str, event: Event) -> Change:
        """Make the identifier this profile's, merging if it is another's; return the survivor."""
        owner = self.owner(identifier)
        sure = self.is_sure(event, change.profile)
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
            one.drop("identifiers", len(second.identifiers))
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
        # Where the survivor has an address, one that was only claimed is not its first.
        late_claims = frozenset(
            name
            for name, kind in KIND_OF_TRAIT.items()
            if name in absorbed.traits and not absorbed.traits[name].trusted and survivor.has_kind(kind)
        )
        first.absorb_facts(absorbed, late_claims)
        for identifier in absorbed.identifiers:
            self._owners[identifier] = survivor.profile_id
        survivor.identifiers += absorbed.identifiers
        survivor.claimed |= absorbed.claimed if sure else set(absorbed.identifiers)
        for identifier in absorbed.identifiers:
            first.gain(identifier)
        survivor.devices |= absorbed.devices
        survivor.events += absorbed.events
        survivor.created = min(survivor.created, absorbed.created)
        survivor.absorbed += absorbed.absorbed
        first.absorbed += second.absorbed
        first.addresses |= second.addresses
        for what, count in (second.dropped or {}).items():
            first.drop(what, count)
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
            self._block(holder, address)

    def _block(self, holder: Change, identifier: str) -> None:
        self._detach(holder, identifier)
        self._owners[identifier] = None
        self.has_contested = True
        if kind_of(identifier) in ADDRESSES:
            holder.addresses |= {identifier}

    def _attach(self, change: Change, identifier: str, sure: bool) -> None:
        profile = change.profile
        if not profile.has_space:
            change.drop("identifiers")
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
        holder.profile.devices.pop(identifier, None)
        holder.lose(identifier)

    def _create(self, event: Event) -> Change:
        profile = Profile(self._new_id(), created=event.received)
        change = self._changes[profile.profile_id] = Change(profile, is_new=True)
        return change

    def _survivor(self, profile_id: str) -> str:
        while profile_id in self._survivors:
            profile_id = self._survivors[profile_id]
        return profile_id


def _addresses_beside(event: Event) -> Sequence[str]:
    """The addresses that an event names, as it may beside a device."""
    return [i for i in event.identifiers if i[0] in ADDRESSES and not is_blocked_value(i)]


def _knows_devices(profile: Profile, event: Event) -> bool:
    """Whether the profile has noted which addresses come from the event's devices."""
    addresses = [i for i in event.identifiers if i[0] in ADDRESSES]
    devices = [i for i in event.identifiers if i[0] == ANONYMOUS_ID] if addresses else ()
    known = profile.devices
    return all(address in known.get(device, ()) for device in devices for address in addresses)


def _survivor_first(one: Change, other: Change) -> list[Change]:
    """The survivor of a merge is the one with the user id, else the older."""
    return sorted(
        (one, other), key=lambda c: (c.profile.user_id is None, c.profile.created, c.profile.profile_id)
    )
