"""Short cuts for tests of the rule language."""

from collections.abc import Mapping, Sequence
from typing import Any

from libs.expressions import RuleSet, parse_rule

TRAITS: dict[str, Any] = {
    "country": "United Kingdom",
    "first name": "Ann",
    "age": 30,
    "score": 1.5,
    "big": 2**53 + 1,
    "huge": 2**63 - 1,
    "vip": True,
    "one": 1,
    "zero": 0,
    "nothing": None,
    "text": "1",
    "tags": ["new", "loyal", 3],
    "numbers": [1, 2, 3],
    "empty": [],
    "address": {"city": "London", "geo": {"lat": 51.5}},
    "same": {"city": "London", "geo": {"lat": 51.5}},
}
CONSENT = {"analytics": True, "email_marketing": False}


def holds(
    text: str,
    traits: Mapping[str, Any] = TRAITS,
    consent: Mapping[str, bool] = CONSENT,
    values: Sequence[int | float | None] = (),
) -> bool:
    return RuleSet({"it": parse_rule(text)}).evaluate(traits, consent, values) == ["it"]


def outcome(text: str, **given: Any) -> bool | None:
    """True, false, or None for an error: an error is what neither holds nor holds when negated."""
    if holds(text, **given):
        return True
    return False if holds(f"!({text})", **given) else None
