"""Answers who somebody is and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.addresses import normal_email, normal_phone
from libs.errors import FailedPrecondition, Malformed, NotFound, Required
from libs.ids import uuid_text, uuid_texts
from services.profile.directory.ports import Directory
from services.profile.identity.model import EMAIL, PHONE, Profile, kind_of

_MALFORMED = {
    EMAIL: "is not an email address",
    PHONE: "is not a phone number in E.164 form, such as +33123456789",
}


# Together with what one more profile may hold, far from the 16 MiB that a call may answer with.
_ANSWER_BYTES = 4 << 20
MOST_IDS = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """Some of the profiles that were asked for."""

    profiles: Mapping[str, Profile]
    """By the ids asked for."""
    remaining: Sequence[str]
    """The ids that are to be asked for again, since the answer is full."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of profiles, in the order of their ids."""

    profiles: Sequence[Profile]
    last: str | None
    """The id behind which the next page begins; None on the last."""
    total: int | None
    """How many there are in all, where that was asked for."""


class Profiles:
    """Answers about profiles."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def get(self, profile_id: str, min_revision: int = 0) -> Profile:
        """One profile by its id, or that of one that it absorbed."""
        asked = uuid_text(profile_id, "profile_id")
        found = await self._directory.get([asked])
        return _at_least(found.get(asked), min_revision, f"profile {asked}", {"profile_id": asked})

    async def find(self, identifier: str, min_revision: int = 0) -> Profile:
        """One profile by any of its identifiers, in any form that has a normal one."""
        found = await self._directory.find(normal_identifier(identifier))
        return _at_least(found, min_revision, "that identifier", {})

    async def batch(self, profile_ids: Sequence[str]) -> Found:
        """Many profiles, as many as fit into an answer: the first always does."""
        asked = uuid_texts(profile_ids, "profile_ids", MOST_IDS)
        sizes = await self._directory.sizes(asked)
        fit = _how_many_fit([sizes.get(profile_id, 0) for profile_id in asked])
        return Found(await self._directory.get(asked[:fit]), asked[fit:])

    async def page(self, after: str, limit: int, *, count_all: bool = False) -> Page:
        """A page of profiles behind an id: fewer than asked for where more do not fit into an answer."""
        rows = await self._directory.page(uuid_text(after, "page_token"), limit + 1)
        fit = _how_many_fit([size for _, size in rows[:limit]])
        found = await self._directory.get([profile_id for profile_id, _ in rows[:fit]])
        total = await self._directory.count() if count_all else None
        # One that was merged away since is its survivor by now, which has a place of its own.
        living = [found[i] for i, _ in rows[:fit] if i in found and found[i].profile_id == i]
        return Page(living, rows[fit - 1][0] if len(rows) > fit else None, total)


def _how_many_fit(sizes: Sequence[int]) -> int:
    """How many of these fit into one answer: one at least, however large it is."""
    taken = 0
    for place, size in enumerate(sizes):
        taken += size
        if place and taken > _ANSWER_BYTES:
            return place
    return len(sizes)


def normal_identifier(identifier: str) -> str:
    """The identifier as it is stored; Invalid for a value that none of its kind has."""
    kind, text = kind_of(identifier), identifier[2:]
    if not text:
        raise Required("identifier.value", "is required")
    value: str | None = text
    if kind == EMAIL:
        value = normal_email(text)
    elif kind == PHONE:
        value = normal_phone(text)
    if not value or "\0" in value:
        raise Malformed("identifier.value", _MALFORMED.get(kind, "contains the character U+0000"))
    return f"{kind}:{value}"


def _at_least(profile: Profile | None, min_revision: int, asked: str, names: Mapping[str, str]) -> Profile:
    if profile is None:
        raise NotFound(f"nobody has {asked}", **names)
    if profile.revision < min_revision:
        raise FailedPrecondition(
            f"{asked} is at revision {profile.revision}, not yet at {min_revision}", revision=profile.revision
        )
    return profile
