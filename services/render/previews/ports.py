"""What previews and tests need from outside."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from services.render.deciding.model import Advice, Wish
from services.render.delivery.model import Decision
from services.render.model.people import Person


class Engine(Protocol):
    """Fills templates; a template that does not finish is ended."""

    async def render(self, sources: Mapping[str, str], context: bytes) -> Mapping[str, str]:
        """Fill all parts with a JSON object; Unrenderable tells the part, the line and the reason."""


class Outbox(Protocol):
    """Messages that wait for connectors."""

    async def store(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Store those that nobody has decided before, in a transaction of their own; returns them."""


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
