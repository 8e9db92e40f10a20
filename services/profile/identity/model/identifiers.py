"""The names by which a person is known: kinds, their strength, and values that name nobody.

An identifier is its kind's letter, a colon and its value: `u:42`, `e:ada@example.com`.
"""

from collections.abc import Iterable, Sequence

USER_ID, EMAIL, PHONE, ANONYMOUS_ID = "u", "e", "p", "a"
STRENGTH = {USER_ID: 0, EMAIL: 1, PHONE: 2, ANONYMOUS_ID: 3}
ADDRESSES = frozenset({EMAIL, PHONE})

# What careless integrations send in place of an id: as an identifier it would join strangers.
BLOCKED_VALUES = frozenset(
    {"", "0", "-1", "null", "nil", "none", "undefined", "nan", "n/a", "na", "unknown", "anonymous", "guest"}
    | {"true", "false", "test", "user", "default", "[object object]", "00000000-0000-0000-0000-000000000000"}
)


def kind_of(identifier: str) -> str:
    """The identifier's kind."""
    return identifier[0]


def is_blocked_value(identifier: str) -> bool:
    """Whether the value names nobody, whoever sends it."""
    return identifier[2:].strip().lower() in BLOCKED_VALUES


def strongest_first(identifiers: Iterable[str]) -> Sequence[str]:
    """Sorted by kind, then value."""
    return sorted(identifiers, key=lambda i: (STRENGTH[kind_of(i)], i))
