"""Who somebody is, as plain Python."""

from services.profile.identity.model.addresses import address_of
from services.profile.identity.model.blocked import BLOCKED_VALUES, is_blocked_value
from services.profile.identity.model.identifiers import (
    ADDRESSES,
    ANONYMOUS_ID,
    EMAIL,
    PHONE,
    PROFILE_ID,
    USER_ID,
    kind_of,
    strongest_first,
)
from services.profile.identity.model.ledger import Ledger, Refusals, identifiers_in
from services.profile.identity.model.profiles import MOST_IDENTIFIERS, Change, Event, Profile

__all__ = [
    "ADDRESSES",
    "ANONYMOUS_ID",
    "BLOCKED_VALUES",
    "EMAIL",
    "MOST_IDENTIFIERS",
    "PHONE",
    "PROFILE_ID",
    "USER_ID",
    "Change",
    "Event",
    "Ledger",
    "Profile",
    "Refusals",
    "address_of",
    "identifiers_in",
    "is_blocked_value",
    "kind_of",
    "strongest_first",
]
