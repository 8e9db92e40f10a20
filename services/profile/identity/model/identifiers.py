"""The names by which a person is known: kinds, their strength, and values that name nobody.

An identifier is its kind's letter, a colon and its value: `u:42`, `e:ada@example.com`.
"""

from collections.abc import Iterable, Sequence

USER_ID, EMAIL, PHONE, ANONYMOUS_ID = "u", "e", "p", "a"
# Names a profile itself, for our own pages: it leads to somebody, and is nobody's identifier.
PROFILE_ID = "i"
STRENGTH = {USER_ID: 0, EMAIL: 1, PHONE: 2, ANONYMOUS_ID: 3}
ADDRESSES = frozenset({EMAIL, PHONE})


def kind_of(identifier: str) -> str:
    """The identifier's kind."""
    return identifier[0]


def strongest_first(identifiers: Iterable[str]) -> Sequence[str]:
    """Sorted by kind, then value."""
    return sorted(identifiers, key=lambda i: (STRENGTH[kind_of(i)], i))
