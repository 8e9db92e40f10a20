"""What all of segment's capabilities speak of."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

from libs.errors import Invalid, Malformed, Required
from libs.expressions import ANY, Kind, Rule, RuleError, parse_rule

SECOND = 1_000_000
DAY = 86_400 * SECOND

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_MOST_NEAREST = 3
_VIEWS = ("page", "screen")


class InvalidExpression(Invalid):
    """An expression that can't be understood; `line` and `column` count from 1."""

    reason = "INVALID_EXPRESSION"


Named: TypeAlias = Kind | Literal["trait"]
"""What rules ask for by name."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Something in a definition that is allowed, and probably not what was meant."""

    field: str
    reason: str
    message: str
    name: str
    nearest: tuple[str, ...] = ()


def require(field: str, value: str) -> None:
    """Raise Required where there is nothing."""
    if not value:
        raise Required(field, "is required")


def check_id(field: str, value: str) -> None:
    """Raise Invalid for what can't be a definition's id."""
    require(field, value)
    if not _ID.fullmatch(value):
        raise Malformed(field, "must be lower-case letters, digits, - and _, at most 63")


def check_name(field: str, value: str) -> None:
    """Raise Invalid for what can't be a definition's display name."""
    if len(value) > 200 or "\0" in value:
        raise Invalid(field, "must have at most 200 characters")


def check_rule(field: str, text: str) -> Rule:
    """The rule that a text is; InvalidExpression where it can't be understood."""
    try:
        return parse_rule(text)
    except RuleError as error:
        raise InvalidExpression(field, str(error), line=error.line, column=error.column) from None


def names_in(rule: Rule) -> list[tuple[Named, str]]:
    """What a rule asks for by name."""
    events: list[tuple[Named, str]] = [(f.series.kind, f.series.event) for f in rule.features]
    return [*events, *(("trait", name) for name in sorted(rule.traits) if name != "*")]


def names_never_seen(
    field: str, asked: Iterable[tuple[Named, str]], seen: Mapping[Named, Sequence[str]]
) -> list[Advice]:
    """What to say of names of events, views and traits that never came, with those nearest to them.

    `seen` has, by kind, the names that came. Where nothing has come at all, nothing can be said.
    """
    if not any(seen.values()):
        return []
    warnings = []
    for kind, name in dict.fromkeys(asked):
        if name == ANY or name in seen[kind]:
            continue
        nearest = _nearest(name, seen[kind])
        message = f"no {kind} named {name!r} has ever been seen"
        if kind == "event" and name.lower() in _VIEWS:
            message += f"; views of a {name.lower()} are asked for with {name.lower()}s()"
        elif nearest:
            message += f"; did you mean {' or '.join(map(repr, nearest))}?"
        reason = "TRAIT_NEVER_SEEN" if kind == "trait" else "EVENT_NEVER_SEEN"
        warnings.append(Advice(field, reason, message, name, tuple(nearest)))
    return warnings


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.casefold(), one)
    close = get_close_matches(name.casefold(), folded, _MOST_NEAREST)
    return [folded[one] for one in close]
