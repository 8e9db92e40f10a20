"""What the people of a made-up shop do, from a seed, and what is defined over it, for both sides.

People come as strangers on a device, sign in, sign in on another device, order as guests by their address;
so profiles merge, in every order. Their user ids and addresses are their own: no limit of identity is met.
"""

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

from tests.model import SECOND, Event, Segment, Trigger

HOUR = 3600
_NEW_PERSON = 0.06
_ACTIVE = 40
_TOWNS = ("Berlin", "Wien", "Bern")
# A number becomes a string, or goes; one that doubles can't hold keeps its digits.
_SCORES: tuple[Any, ...] = (1, 2.5, "3", True, None, 2**53 + 1)

SEGMENTS = {
    # Nobody ever leaves this one, but by a merge: what is true stays true.
    "repeat-buyers": Segment(
        'events("Order Completed").count() >= 2', lambda v: len(v.events("Order Completed")) >= 2
    ),
    "spenders": Segment(
        'events("Order Completed").within("1h").sum("total") >= 100.0',
        lambda v: sum(v.totals("Order Completed", HOUR * SECOND)) >= 100,
    ),
    "browsing": Segment(
        'events("Product Viewed").within("10s").count() >= 2',
        lambda v: len(v.events("Product Viewed", 10 * SECOND)) >= 2,
    ),
    "open-carts": Segment(
        'events("Product Added").within("8s").count() > 0 && '
        'events("Order Completed").within("8s").count() == 0',
        lambda v: bool(v.events("Product Added", 8 * SECOND)) and not v.events("Order Completed", 8 * SECOND),
    ),
    "gold": Segment('traits.plan == "gold"', lambda v: v.trait("plan") == "gold"),
    "reachable": Segment("consent.email_marketing", lambda v: v.consents("email_marketing")),
}
TRIGGERS = {
    "cart-left": ("Product Added", ("Order Completed",), 3),
    "visit-over": ("Product Viewed", (), 2),
}
MOST_AGE_SECONDS = 3600
"""An entry whose true time is older, because of an event that came late, is missed."""
LONGEST_DELAY = 3
LONGEST_WINDOW = 10
"""Of the windows that end while a test waits."""
CAMPAIGNS = {"thanks": "repeat-buyers", "cart": "cart-left"}
"""By campaign, the segment or trigger that starts it. The first is transactional, the other marketing."""


def triggers(created: dict[str, int]) -> dict[str, Trigger]:
    """The triggers as the model knows them, once they exist."""
    return {
        trigger_id: Trigger(name, unless, delay * SECOND, created[trigger_id])
        for trigger_id, (name, unless, delay) in TRIGGERS.items()
    }


class Shop:
    """Makes up events, in batches as clients send them."""

    def __init__(self, rng: random.Random, source: str) -> None:
        self._rng = rng
        self._source = source
        self._numbers = itertools.count()
        self._people = _ACTIVE

    def batch(self) -> list[Event]:
        """The next call: what one person, or a few, did just now."""
        return [event for _ in range(self._rng.randint(1, 3)) for event in self._visit()]

    def _visit(self) -> Iterator[Event]:
        rng = self._rng
        if rng.random() < _NEW_PERSON:
            self._people += 1
        # The newest, so that people get to know us while the faults go on.
        person = self._people - 1 - rng.randrange(_ACTIVE)
        device = f"device-{person}-{rng.randrange(2)}"
        kind = rng.random()
        if kind < 0.12:
            yield self._signs_in(person, device)
        elif kind < 0.2:
            yield self._event(name="Order Completed", email=_email(person), properties=self._order())
        elif kind < 0.35:
            yield self._event(name="Order Completed", user_id=f"user-{person}", properties=self._order())
        elif kind < 0.6:
            yield self._event(name="Product Added", anonymous_id=device, properties={"product_id": "P-1"})
        else:
            for _ in range(rng.randint(1, 3)):
                yield self._event(name="Product Viewed", anonymous_id=device)

    def _signs_in(self, person: int, device: str) -> Event:
        rng = self._rng
        traits: dict[str, Any] = {"town": rng.choice(_TOWNS), "plan": rng.choice(("gold", "basic"))}
        if rng.random() < 0.4:
            traits["score"] = rng.choice(_SCORES)
        # The address leads to a guest's orders, which may be a profile of their own until now.
        email = _email(person) if rng.random() < 0.7 else ""
        if email:
            traits["email"] = email
        consent = {"email_marketing": rng.random() < 0.8} if rng.random() < 0.5 else {}
        return self._event(
            type="identify", user_id=f"user-{person}", anonymous_id=device, email=email, traits=traits,
            consent=consent,
        )  # fmt: skip

    def _order(self) -> dict[str, Any]:
        return {"total": self._rng.choice((9.5, 20, 49.9, 120))}

    def _event(self, **values: Any) -> Event:
        return Event(
            message_id=f"{self._source}-{next(self._numbers)}",
            source=self._source,
            time=self._time(),
            **values,
        )

    def _time(self) -> int:
        """Mostly now; now and then late, by seconds or by hours. In milliseconds, as SDKs tell it."""
        late = 0.0
        if self._rng.random() < 0.06:
            late = self._rng.uniform(0, 10) if self._rng.random() < 0.5 else self._rng.uniform(0, 3 * HOUR)
        return int((time.time() - late) * 1000) * 1000


def _email(person: int) -> str:
    return f"person-{person}@example.com"
