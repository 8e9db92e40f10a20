"""Events as the model knows them: what was sent and acknowledged, in plain Python."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

USER_ID, EMAIL, PHONE, ANONYMOUS_ID = "u", "e", "p", "a"
ADDRESSES = {"email": EMAIL, "phone": PHONE}

# Values that careless integrations send in place of an id: they name nobody.
BLOCKED_VALUES = {
    *("", "0", "-1", "null", "nil", "none", "undefined", "nan", "n/a", "na", "unknown", "anonymous"),
    *("guest", "true", "false", "test", "user", "default", "[object object]", "(null)"),
    "00000000-0000-0000-0000-000000000000",
}

# Rules know the calls other than track by these names.
_NAMES = {
    "identify": "Identified",
    "page": "Page Viewed",
    "screen": "Screen Viewed",
    "group": "Group Joined",
}


@dataclass(frozen=True)
class Event:
    """An acknowledged event. Times are microseconds since 1970; addresses are in their normal form."""

    message_id: str
    time: int
    """When it happened."""
    received: int = 0
    """When it was acknowledged."""
    type: str = "track"
    name: str = ""
    source: str = "shop"
    trusted: bool = True
    """From a server; False from a browser, whose word on addresses is a claim."""
    user_id: str = ""
    email: str = ""
    phone: str = ""
    anonymous_id: str = ""
    previous_id: str = ""
    """The other device of an alias."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)
    """None removes a trait. Only what an identify says counts."""
    consent: Mapping[str, bool] = field(default_factory=dict)

    @cached_property
    def event_id(self) -> bytes:
        """The 16 bytes that name the event for ever: source and message id."""
        return hashlib.blake2b(f"{self.source}\0{self.message_id}".encode(), digest_size=16).digest()

    @property
    def clock(self) -> tuple[str, ...]:
        """Whose clock told its time: a server's source has one, of a browser's each device."""
        return (self.source,) if self.trusted else (self.source, "browser", self.anonymous_id)

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Kind and value of each, strongest first."""
        named = [
            (USER_ID, self.user_id),
            (EMAIL, self.email),
            (PHONE, self.phone),
            (ANONYMOUS_ID, self.anonymous_id),
            (ANONYMOUS_ID, self.previous_id),
        ]
        return tuple(dict.fromkeys(f"{kind}:{value}" for kind, value in named if value))

    @cached_property
    def usable(self) -> tuple[str, ...]:
        """The identifiers that may name somebody."""
        return tuple(i for i in self.identifiers if i[2:].strip().lower() not in BLOCKED_VALUES)

    @property
    def said(self) -> Mapping[str, Any]:
        """The traits that it sets or removes."""
        return self.traits if self.type == "identify" else {}

    @property
    def known_as(self) -> str:
        """The name by which rules know it."""
        return self.name if self.type == "track" else _NAMES.get(self.type, "")

    @property
    def place(self) -> tuple[int, bytes]:
        """Where it stands among a person's events: by its time, at equal times by its id."""
        return self.time, self.event_id


def first_copies(events: Iterable[Event]) -> list[Event]:
    """Without repetitions: an event is (source, message id), and the first stored copy wins."""
    first: dict[bytes, Event] = {}
    for event in events:
        first.setdefault(event.event_id, event)
    return list(first.values())


def exactly(value: Any) -> str:
    """A JSON value such that 1, 1.0, true and "1" are four, wherever they stand."""
    return json.dumps(value, sort_keys=True)
