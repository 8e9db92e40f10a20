"""What decisions need from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.render.campaigns.model import Campaign
from services.render.deciding.model import Advice, Wish
from services.render.delivery.model import Decision
from services.render.library.model import Template
from services.render.model.people import Person


class Engine(Protocol):
    """Fills templates; a template that does not finish is ended."""

    async def render(self, sources: Mapping[str, str], context: bytes) -> Mapping[str, str]:
        """Fill all parts with a JSON object; Unrenderable tells the part, the line and the reason."""


class Neighbours(Protocol):
    """The other services."""

    async def people(self, profile_ids: Collection[str]) -> dict[str, Person]:
        """Profiles by the id asked for; Unavailable where profile does not answer.

        Who can't be read alone is `unreadable`, and costs nobody else.
        """

    async def segments(self, profile_ids: Collection[str]) -> dict[str, list[str]]:
        """The segments that people are in; Unavailable where segment does not answer."""

    async def advice(self, wishes: Sequence[Wish]) -> list[Advice]:
        """Recommendations for each wish, in their order; Unavailable where recommend does not answer soon."""


class Campaigns(Protocol):
    """Campaigns, inside a batch's transaction."""

    async def all(self) -> list[Campaign]:
        """The newest versions of all campaigns, by id."""


class Templates(Protocol):
    """Templates, inside a batch's transaction."""

    async def newest(self, template_id: str) -> Template | None:
        """The newest version; None where there is no such template."""


class Messages(Protocol):
    """Decisions, inside a batch's transaction."""

    async def wait_for_others(self) -> None:
        """Let the transaction stand idle for a minute, not for seconds only, until the first write."""

    async def decided(self, message_ids: Collection[str]) -> set[str]:
        """Which of these have been decided before."""

    async def store(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Store those that nobody has decided before; returns them."""

    async def withdraw(self, causes: Collection[tuple[str, bytes]], reason: str) -> int:
        """Withdraw what waits because of definitions and causes; returns how many messages."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What one batch reads and writes, in one transaction."""

    campaigns: Campaigns
    templates: Templates
    messages: Messages
