"""Segments and triggers that ask for everything that rules can: windows, sums, traits, consent."""

import math
from collections.abc import Sequence

from tests.model.events import DAY, HOUR, exactly
from tests.model.lives import START
from tests.model.rules import Segment, Trigger


def _average(totals: Sequence[float]) -> float:
    return math.fsum(totals) / len(totals)


SEGMENTS = {
    "frequent": Segment(
        'events("Order").within("1d").count() >= 2',
        lambda v: len(v.events("Order", DAY)) >= 2,
        [("Order", DAY)],
    ),
    "spender": Segment(
        'events("Order").sum("total") > 100.25',
        lambda v: v.sum("Order") > 100.25,
        [("Order", None)],
    ),
    "exact": Segment(
        'events("Order").sum("total") == 0.6000000000000001 || events("Order").sum("total") == 0.6',
        lambda v: v.sum("Order") in (0.6000000000000001, 0.6),
        [("Order", None)],
    ),
    "lapsed": Segment(
        'events("Order").count() > 0 && events("Order").within("30d").count() == 0',
        lambda v: bool(v.events("Order")) and not v.events("Order", 30 * DAY),
        [("Order", None), ("Order", 30 * DAY)],
    ),
    "vip": Segment(
        'traits.vip == true && events("View").within("1h").count() >= 1',
        lambda v: v.trait("vip") is True and bool(v.events("View", HOUR)),
        [("View", HOUR)],
        traits=["vip"],
    ),
    "plain": Segment("!has(traits.vip)", lambda v: v.trait("vip") is None, traits=["vip"]),
    "never": Segment('events("Order").count() == 0', lambda v: not v.events("Order"), [("Order", None)]),
    "shoes": Segment(
        'events("View").where(properties.kind == "shoes").within("2w").count() == 1',
        lambda v: len(v.events("View", 14 * DAY, "shoes")) == 1,
        [("View", 14 * DAY)],
        kind="shoes",
    ),
    "mailable": Segment(
        'consent.email && events("Order").within("30d").max("total") > 50',
        lambda v: v.consents("email") and max(v.totals("Order", 30 * DAY), default=0) > 50,
        [("Order", 30 * DAY)],
        consent=["email"],
    ),
    "cheap": Segment(
        'events("Order").within("7d").avg("total") < 20.0 && events("Order").min("total") < 0.2',
        lambda v: (
            bool(v.totals("Order", 7 * DAY))
            and _average(v.totals("Order", 7 * DAY)) < 20
            and min(v.totals("Order")) < 0.2
        ),
        [("Order", 7 * DAY), ("Order", None)],
    ),
}
TRIGGERS = {
    "cart": Trigger("Cart", ["Order"], HOUR, START + 2 * HOUR),
    "browse": Trigger(
        "View",
        ["Cart", "Order"],
        2 * DAY,
        START,
        'consent.email && events("Order").within("30d").count() <= 1',
        lambda v: v.consents("email") and len(v.events("Order", 30 * DAY)) <= 1,
        consent=["email"],
    ),
}
# What JSON tells apart, a rule does: only numbers are equal across their types.
TYPES = {
    "one": Segment("traits.n == 1", lambda v: exactly(v.trait("n")) in ("1", "1.0"), traits=["n"]),
    "large": Segment(
        "traits.n == 9007199254740993", lambda v: exactly(v.trait("n")) == str(2**53 + 1), traits=["n"]
    ),
    "text": Segment('traits.n == "1"', lambda v: v.trait("n") == "1", traits=["n"]),
    "listed": Segment("traits.n == [true]", lambda v: exactly(v.trait("n")) == "[true]", traits=["n"]),
    "nested": Segment("traits.n.a == true", lambda v: exactly(v.trait("n")) == '{"a": true}', traits=["n"]),
    "unset": Segment("!has(traits.n)", lambda v: v.trait("n") is None, traits=["n"]),
}
