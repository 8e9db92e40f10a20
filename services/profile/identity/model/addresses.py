"""The addresses of a person: what leads to somebody, and where mail goes."""

from collections.abc import Collection

import orjson

from libs.addresses import normal_email, normal_phone
from services.profile.identity.model.identifiers import ADDRESSES, EMAIL, PHONE, kind_of
from services.profile.identity.model.profiles import Change, Profile

# The traits that hold an address, and the kind of identifier that it is.
KIND_OF_TRAIT = {"email": EMAIL, "phone": PHONE}
_TRAIT_OF_KIND = {kind: name for name, kind in KIND_OF_TRAIT.items()}
_NORMAL_FORM = {EMAIL: normal_email, PHONE: normal_phone}


def address_in(kind: str, value: bytes | None) -> str | None:
    """The address that a trait's value holds, in normal form; None where it holds none."""
    text = orjson.loads(value) if value and value[:1] == b'"' else None
    return _NORMAL_FORM[kind](text) if isinstance(text, str) else None


def address_of(profile: Profile, kind: str) -> str | None:
    """Where mail or messages go: the trait; where it was never set, the first address that leads here.

    A trait that was removed says that there is no address any more, whatever led here once.
    """
    trait = profile.traits.get(_TRAIT_OF_KIND[kind])
    if trait is not None and trait.value is None:
        return None
    stated = None if trait is None else address_in(kind, trait.value)
    known = (i[2:] for i in profile.identifiers if kind_of(i) == kind)
    return stated or next(known, None)


def addresses_of(profile: Profile) -> set[str]:
    """All addresses of a person, as identifiers: what leads here, and what traits say."""
    found = {i for i in profile.identifiers if kind_of(i) in ADDRESSES}
    return found | _stated(profile, KIND_OF_TRAIT)


def gained_addresses(change: Change) -> set[str]:
    """The addresses that a profile came to have by a change, as identifiers."""
    found = {i for i in change.added if i[0] in ADDRESSES}
    if change.addresses:
        found |= change.addresses
    return found | _stated(change.profile, change.traits) if change.traits else found


def _stated(profile: Profile, names: Collection[str]) -> set[str]:
    found = set()
    for name, kind in KIND_OF_TRAIT.items():
        trait = profile.traits.get(name) if name in names else None
        address = None if trait is None else address_in(kind, trait.value)
        if address is not None:
            found.add(f"{kind}:{address}")
    return found
