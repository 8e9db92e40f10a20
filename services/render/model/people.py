"""People, what they have consented to, and the streams of mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from libs.addresses import normal_email


class Stream(IntEnum):
    """What kind of mail it is, numbered as in the contract."""

    MARKETING = 1
    TRANSACTIONAL = 2


@dataclass(frozen=True, slots=True)
class Person:
    """What a decision needs to know of somebody."""

    profile_id: str
    revision: int
    traits: Mapping[str, Any]
    consent: Mapping[str, bool]
    emails: Sequence[str]
    """The addresses that lead to this profile, in normal form."""
    user_id: str = ""
    unreadable: str = ""
    """Why nothing more is known of the person than the id; empty where it is known."""

    @property
    def address(self) -> str | None:
        """Where mail goes: the trait, else the first address that leads here."""
        trait = self.traits.get("email")
        stated = normal_email(trait) if isinstance(trait, str) else None
        return stated or next(iter(self.emails), None)

    def has_address(self, address: str) -> bool:
        """Whether an address is still this person's."""
        return address == self.address or address in self.emails

    @property
    def is_analysable(self) -> bool:
        """Whether what the person did may be made use of for the person."""
        return self.consent.get("analytics", True) and self.is_personalizable

    @property
    def is_personalizable(self) -> bool:
        """Whether mail may be chosen and made for the person."""
        return self.consent.get("personalization", True)


def forbidden_because(stream: Stream, person: Person) -> str | None:
    """What consent forbids. Mail that belongs to a purchase or an account needs none."""
    if stream is Stream.TRANSACTIONAL:
        return None
    if not person.consent.get("email_marketing", False):
        return "no consent to email_marketing"
    if not person.is_personalizable:
        return "personalization is denied"
    return None
