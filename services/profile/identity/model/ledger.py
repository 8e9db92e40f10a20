"""Applies events one after another: whose each is (`resolver`), and what it changes.

The last writer of a trait is found by the events' own times, so that any order of arrival gives the
same traits, and the same identities where no limit was met.

What a person has refused counts for what comes after, in the order in which profile applies it: an
event of somebody who had refused analytics leaves nothing but its consent, unless it grants it anew.

A refusal is the person's and their addresses': whoever shares an address refuses mail to it as well,
now or once they have it, until they grant it anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from services.profile.consent.model import ANALYTICS, OF_DEVICE, Said, Statement, is_allowed
from services.profile.identity.model.addresses import (
    KIND_OF_TRAIT,
    address_in,
    addresses_of,
    gained_addresses,
)
from services.profile.identity.model.identifiers import (
    ADDRESSES,
    ANONYMOUS_ID,
    PROFILE_ID,
    USER_ID,
    kind_of,
)
from services.profile.identity.model.profiles import Change, Event, Profile
from services.profile.identity.model.resolver import Resolver
from services.profile.traits.model import Trait

# By address and purpose, the last refusal.
Refusals = Mapping[tuple[str, str], Statement]


class Ledger:
    """What a batch of events changes."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        owners: Mapping[str, str | None],
        new_id: Callable[[], str],
    ) -> None:
        """Start from stored profiles and from who owns which identifier: None is blocked for good."""
        self._resolver = Resolver(profiles, owners, new_id)
        self._assigned: list[tuple[str, Event]] = []
        self.unassigned: list[Event] = []
        """Events that name nobody."""
        self.refusals: dict[tuple[str, str], Statement] = {}
        """What this batch refuses of addresses."""
        self._stated: list[tuple[str, str, Statement]] = []

    def apply(self, event: Event) -> None:
        """Decide whose event it is, and let it change that profile."""
        change = self._resolver.resolve(event)
        if change is None:
            self._keep_unassigned(event)
            return
        profile = change.profile
        profile.events += 1
        profile.created = min(profile.created, event.received)
        if event.consent:
            self._state_consent(change, event)
        if ANALYTICS in profile.consent and not is_allowed(profile.consent, ANALYTICS, default=True):
            event = msgspec.structs.replace(event, traits={}, is_withheld=True)
        self._assigned.append((profile.profile_id, event))
        if event.traits:
            self._set_traits(change, event)
        if self._resolver.has_contested:
            contested = (i for i in event.identifiers if kind_of(i) in ADDRESSES)
            change.addresses |= {i for i in contested if self._resolver.is_contested(i)}

    def changes(self) -> list[Change]:
        """All that changed, each event with the profile that owns it in the end, by profile id."""
        for profile_id, event in self._assigned:
            self._resolver.change_of(profile_id).events.append(event)
        self._assigned.clear()
        return sorted((c for c in self._resolver.living() if c.touched), key=lambda c: c.profile.profile_id)

    def owners(self) -> Mapping[str, str | None]:
        """Who owns each identifier now."""
        return self._resolver.owners()

    @cached_property
    def gained(self) -> Mapping[str, Sequence[Change]]:
        """The addresses that profiles came to have in this batch: asked for once all events are applied."""
        found: dict[str, list[Change]] = {}
        for change in self._resolver.living():
            if not (change.added or change.addresses or change.traits):
                continue
            for address in gained_addresses(change):
                found.setdefault(address, []).append(change)
        return found

    def refusing(self) -> set[str]:
        """Who has refused something in this batch, with the ids of those whom they have absorbed."""
        profiles = [self._resolver.change_of(profile_id).profile for profile_id, _, _ in self._stated]
        return {id_ for profile in profiles for id_ in (profile.profile_id, *profile.absorbed)}

    def refuse_shared(self, shares: Iterable[tuple[str, str]]) -> None:
        """Let what they refuse count for the addresses that they have, and that lead to others or nobody."""
        addresses: dict[str, list[str]] = {}
        for address, profile_id in shares:
            living = self._resolver.change_of(profile_id).profile.profile_id
            addresses.setdefault(living, []).append(address)
        for profile_id, purpose, statement in self._stated:
            living = self._resolver.change_of(profile_id).profile.profile_id
            self._refuse(addresses.get(living, ()), purpose, statement)

    def refuse_joined(self) -> None:
        """Let what people refused count for the addresses that they have by now, also by merges."""
        for change in self._resolver.living():
            if change.absorbed:
                self._stated += [(change.profile.profile_id, *said) for said in _own_refusals(change.profile)]
        for profile_id, purpose, statement in self._stated:
            self._refuse(addresses_of(self._resolver.change_of(profile_id).profile), purpose, statement)
        for address, changes in self.gained.items():
            for change in changes:
                for purpose, statement in _own_refusals(change.profile):
                    self._refuse([address], purpose, statement)

    def shares(self) -> list[tuple[str, str]]:
        """Who came to have an address that leads to nobody, or to somebody else."""
        return [
            (address, change.profile.profile_id)
            for address, changes in self.gained.items()
            for change in changes
            if self._resolver.owner(address) != change.profile.profile_id
        ]

    def unknown(self, profile_ids: Iterable[str]) -> set[str]:
        """Which of these profiles are not known here."""
        return self._resolver.unknown(profile_ids)

    def add(self, profiles: Mapping[str, Profile]) -> None:
        """Take in further stored profiles, who have one of the addresses."""
        self._resolver.add(profiles)

    def refuse(self, holders: Iterable[tuple[str, str]], known: Refusals) -> None:
        """Let refusals of addresses count for all who have them.

        `holders` are stored: who has which of the refused addresses. `known` are the refusals that stand
        by addresses gained in this batch.
        """
        for (address, purpose), statement in known.items():
            for change in self.gained.get(address, ()):
                change.refuse(purpose, statement)
        having = {address: list(changes) for address, changes in self.gained.items()}
        for address, profile_id in holders:
            having.setdefault(address, []).append(self._resolver.change_of(profile_id))
        for (address, purpose), statement in self.refusals.items():
            owner = self._resolver.owner(address)
            owners = [] if owner is None else [self._resolver.change_of(owner)]
            for change in [*having.get(address, ()), *owners]:
                change.refuse(purpose, statement)

    def _keep_unassigned(self, event: Event) -> None:
        self.unassigned.append(event)
        addresses = [i for i in event.identifiers if kind_of(i) in ADDRESSES]
        for purpose, granted in event.consent.items():
            if not granted:
                self._refuse(addresses, purpose, _said(event, granted=False).statement)

    def _state_consent(self, change: Change, event: Event) -> None:
        consent = change.profile.consent
        for purpose, granted in event.consent.items():
            was_refused = purpose in consent and not consent[purpose].granted
            said = _said(event, granted)
            change.state_consent(purpose, said)
            if granted or purpose in OF_DEVICE:
                continue
            named = {i for i in event.identifiers if kind_of(i) in ADDRESSES}
            own = addresses_of(change.profile)
            # A banner that repeats itself says nothing new of the person's own addresses.
            is_repeated = was_refused and not event.trusted
            self._refuse(named - own if is_repeated else named | own, purpose, said.statement)
            if not is_repeated:
                self._stated.append((change.profile.profile_id, purpose, said.statement))

    def _refuse(self, addresses: Iterable[str], purpose: str, statement: Statement) -> None:
        for address in addresses:
            known = self.refusals.get((address, purpose))
            if known is None or statement > known:
                self.refusals[address, purpose] = statement

    def _set_traits(self, change: Change, event: Event) -> None:
        trusted = self._resolver.is_sure(event, change.profile)
        for name, value in event.traits.items():
            if trusted or _may_claim(change.profile, event, name, value):
                change.set_trait(name, Trait(value, event.time, event.event_id, trusted))


def _said(event: Event, granted: bool) -> Said:
    device = next((i for i in event.identifiers if kind_of(i) == ANONYMOUS_ID), "")
    return Said(granted, event.time, event.received, event.event_id, event.trusted, device)


def _own_refusals(profile: Profile) -> list[tuple[str, Statement]]:
    """What a person has refused by now, undone or not, that counts for their addresses."""
    said = ((purpose, choice.own_refusal) for purpose, choice in profile.consent.items())
    return [(purpose, refusal) for purpose, refusal in said if refusal and purpose not in OF_DEVICE]


def _may_claim(profile: Profile, event: Event, name: str, value: bytes | None) -> bool:
    """A claim may name an address only where it became the profile's own identifier."""
    kind = KIND_OF_TRAIT.get(name)
    if kind is None:
        return True
    identifier = f"{kind}:{address_in(kind, value)}"
    return identifier in event.identifiers and identifier in profile.identifiers


def identifiers_in(events: Iterable[Event]) -> set[str]:
    """All identifiers that may name somebody."""
    found: set[str] = set()
    for event in events:
        found.update(event.identifiers)
        if event.profile_id:
            found.add(f"{PROFILE_ID}:{event.profile_id}")
        if event.previous_id:
            found.add(f"{USER_ID}:{event.previous_id}")
    return found
