"""Finds addresses that a file gives to several people.

An email address or a phone number that is seen under two user ids identifies nobody: both people lose it.
In a file that is a mistake as often as not, and it can't be taken back, so it is found before anything is
sent.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from cli.imports.events import Line
from libs.addresses import normal_email, normal_phone
from tessera.ingest.v1.event_pb2 import Event, EventType


@dataclass(frozen=True, slots=True)
class Shared:
    """An address, and two of the lines that give it to different people."""

    first_line: int
    line: int


@dataclass(slots=True)
class SharedAddresses:
    """The addresses of a file that are given to more than one user id."""

    _owners: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By address, both as hashes, since a file may hold millions: the user id, and its line."""
    _shared: dict[int, Shared] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._shared)

    def note(self, line: Line) -> None:
        """See a line."""
        if line.event is None or not line.event.user_id:
            return
        user = _hash(line.event.user_id)
        for address in _addresses(line.event):
            owner, first = self._owners.setdefault(_hash(address), (user, line.number))
            if owner != user:
                self._shared.setdefault(_hash(address), Shared(first, line.number))

    def problem(self, line: Line) -> str:
        """Why a line can't be imported; empty where nothing is shared."""
        if line.event is None or not self._shared or not line.event.user_id:
            return ""
        for address in _addresses(line.event):
            if shared := self._shared.get(_hash(address)):
                other = shared.first_line if line.number != shared.first_line else shared.line
                return (
                    f"{address} belongs to another user id in line {other}: both would lose it. "
                    "Give it to one of them, or say --shared-addresses to import the lines as they are"
                )
        return ""


def _addresses(event: Event) -> Iterable[str]:
    """The email addresses and phone numbers by which an event identifies its person, in normal form."""
    said: list[tuple[str, object]] = [("email", event.email), ("phone", event.phone)]
    traits: list[object] = []
    if event.type == EventType.EVENT_TYPE_IDENTIFY:
        traits.append(_object(event.traits_json))
    if b'"traits"' in event.context_json:
        traits.append(_object(event.context_json).get("traits"))
    for place in traits:
        if isinstance(place, dict):
            said += [(name, place.get(name)) for name in ("email", "phone")]
    for name, text in said:
        if isinstance(text, str) and text:
            normal = normal_email(text) if name == "email" else normal_phone(text)
            if normal:
                yield normal


def _object(raw: bytes) -> dict[str, object]:
    value = orjson.loads(raw or b"{}")
    return value if isinstance(value, dict) else {}


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
