"""Identifiers, profiles and event ids in PostgreSQL."""

from datetime import timedelta
from typing import Final

from libs.database.tables import Age, Erased, ErasedBy, Kept, Lasting, Nobodys
from services.profile.identity.sql.cache import Cache
from services.profile.identity.sql.people import SqlPeople

# A client retries for hours, an ESP for days.
_REMEMBERED: Final = timedelta(days=35)

TABLES: Final = (
    Kept(
        "profile.profiles",
        Lasting("until the person is erased; one that was absorbed, as long as its survivor"),
        Erased(),
    ),
    Kept(
        "profile.identities",
        Lasting("as long as their profile; a contested address as long as anybody may name it"),
        ErasedBy("profile_id, and by value where the address is contested: the profile's history names it"),
    ),
    Kept(
        "profile.address_refusals",
        Lasting("until the address is erased: whoever has it next has not opted in"),
        ErasedBy("address: the person's addresses are in the profile"),
    ),
    Kept("profile.shared_addresses", Lasting("as long as the profile"), Erased()),
    Kept(
        "profile.event_ids",
        Age("day", _REMEMBERED, "days"),
        Nobodys("hashes of source and message id, which name no person"),
    ),
)

__all__ = ["TABLES", "Cache", "SqlPeople"]
