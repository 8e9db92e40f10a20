"""What a person allows or refuses, by purpose: which of many statements holds.

A refusal stands until a server says something newer. What came at nearly the same time is doubtful, and
then the refusal holds: a grant counts from the earliest moment at which it can have been given, a refusal
from the latest. A browser's key is public, so what it grants undoes no refusal; a banner alone may take
back what the same device refused of `analytics` and `personalization`, which it decides on at the door.

Each rule is a function of the statements alone, so any order of arrival gives the same. Only a merge is
an event of its own: what one of the two had refused stays refused.
"""

from collections.abc import Mapping

import msgspec

ANALYTICS, PERSONALIZATION, EMAIL_MARKETING = "analytics", "personalization", "email_marketing"
# They have room whatever else a person is said to allow.
KNOWN_PURPOSES = frozenset({ANALYTICS, PERSONALIZATION, EMAIL_MARKETING})
# They are about what is done with a person's data, the others about mail and messages to an address.
OF_DEVICE = frozenset({ANALYTICS, PERSONALIZATION})
# Stands for every purpose that is not named, once more is refused than can be named.
ALL_OTHERS = "*"

# Grants of further purposes are dropped, refusals have as many places again.
MOST_PURPOSES = 100
MOST_CHOICES = 2 * MOST_PURPOSES
# So many devices of a person are told apart, for each purpose.
MOST_DEVICES = 20

_SERVER, _BROWSERS, _ADDRESSES = "", "browsers", "addresses"
# Within this, ingest lets clocks be wrong: the order of arrival may be the true one.
_SKEW = 300 * 1_000_000


class Statement(msgspec.Struct, array_like=True, frozen=True, order=True, gc=False):
    """Something that was said, and by which event."""

    moment: int
    """Microseconds since 1970: from when on it counts."""
    event_id: bytes
    trusted: bool
    """Whether a server said so."""


class Said(msgspec.Struct, frozen=True, gc=False):
    """What an event says of one purpose."""

    granted: bool
    time: int
    received: int
    event_id: bytes
    trusted: bool
    device: str = ""
    """The device of a browser that names one."""

    @property
    def statement(self) -> Statement:
        """With the moment from when on it counts."""
        if self.granted:
            return Statement(min(self.time, self.received), self.event_id, self.trusted)
        doubtful = self.received - self.time <= _SKEW
        moment = max(self.time, self.received) if doubtful else self.time
        return Statement(moment, self.event_id, self.trusted)


class Choice(msgspec.Struct, array_like=True, gc=False):
    """All that is to be known of one purpose: what holds, and what decides on later statements."""

    refusals: dict[str, Statement] = msgspec.field(default_factory=dict)
    """The last of each device that may take it back, that of all others under an empty name, and the last
    that somebody else said of an address of the person's."""
    grants: dict[str, Statement] = msgspec.field(default_factory=dict)
    """The last of servers under an empty name, of each device, and of browsers that name none."""

    @property
    def granted(self) -> bool:
        """Whether it is allowed: something was granted, and no refusal stands."""
        return bool(self.grants) and not any(self._stands(key) for key in self.refusals)

    @property
    def holds(self) -> Statement:
        """The statement that decides."""
        standing = [said for key, said in self.refusals.items() if self._stands(key)]
        return max(standing or self.grants.values())

    @property
    def own_refusal(self) -> Statement | None:
        """The person's own last refusal, undone or not; None where there is none."""
        own = [said for key, said in self.refusals.items() if key != _ADDRESSES]
        return max(own, default=None)

    def _stands(self, key: str) -> bool:
        refused = self.refusals[key]
        undone = [self.grants.get(_SERVER), self.grants.get(key) if key else None]
        return not any(granted is not None and granted.moment > refused.moment for granted in undone)


def is_allowed(consent: Mapping[str, Choice], purpose: str, default: bool) -> bool:
    """Whether a purpose is allowed; `default` where nothing was said of it."""
    choice = consent.get(purpose)
    return default if choice is None else choice.granted


def state(consent: dict[str, Choice], purpose: str, said: Said) -> str | None:
    """Let a statement count; returns the purpose that it was noted under, None where it was dropped.

    A refusal is never dropped: where no purpose can be named any more, all others are refused.
    """
    place = _place(consent, purpose, said.granted)
    if place is None:
        return None
    choice = consent.get(place)
    if choice is None:
        choice = consent[place] = Choice()
    device = said.device if place in OF_DEVICE and not said.trusted else ""
    if said.granted:
        _keep_last(choice.grants, device or (_SERVER if said.trusted else _BROWSERS), said.statement)
    else:
        _refuse(choice, device, said.statement)
    return place


def refuse(consent: dict[str, Choice], purpose: str, statement: Statement) -> str:
    """Let a refusal count that was said of one of the person's addresses."""
    place = _place(consent, purpose, granted=False) or ALL_OTHERS
    _refuse(consent.setdefault(place, Choice()), _ADDRESSES, statement)
    return place


def merge(survivor: dict[str, Choice], absorbed: Mapping[str, Choice]) -> set[str]:
    """Join what two allow and refuse who are one; returns the purposes whose answer changed or is new.

    What one of them had refused is refused until somebody grants it anew.
    """
    changed = set()
    for purpose, other in absorbed.items():
        place = _place(survivor, purpose, other.granted)
        if place is None:
            continue
        own = survivor.get(place)
        before = None if own is None else own.granted
        survivor[place] = other if own is None else _joined(own, other)
        if before != survivor[place].granted:
            changed.add(place)
    return changed


def _joined(one: Choice, other: Choice) -> Choice:
    joined = Choice(dict(one.refusals), dict(one.grants))
    for key, said in other.grants.items():
        _keep_last(joined.grants, key, said)
    for key, said in other.refusals.items():
        _refuse(joined, key, said)
    if joined.granted and not (one.granted and other.granted):
        last = max(said.moment for said in joined.grants.values())
        for choice in (one, other):
            for key, said in choice.refusals.items():
                if not choice.granted:
                    held = Statement(max(said.moment, last), said.event_id, said.trusted)
                    _refuse(joined, key, held)
    return joined


def _place(consent: Mapping[str, Choice], purpose: str, granted: bool) -> str | None:
    """The purpose under which there is room for a statement; None where there is none for a grant."""
    if purpose in consent or purpose in KNOWN_PURPOSES or len(consent) < MOST_PURPOSES:
        return purpose
    if granted:
        return None
    return purpose if len(consent) < MOST_CHOICES else ALL_OTHERS


def _refuse(choice: Choice, key: str, statement: Statement) -> None:
    refusals = choice.refusals
    if key not in refusals and len(refusals) >= MOST_DEVICES:
        key = _SERVER
    _keep_last(refusals, key, statement)


def _keep_last(statements: dict[str, Statement], key: str, statement: Statement) -> None:
    known = statements.get(key)
    if known is None and key and len(statements) >= MOST_DEVICES:
        # Of the grants of many devices the newest are kept: what is dropped can only undo less.
        oldest = min((k for k in statements if k), key=lambda k: statements[k])
        if statements[oldest] > statement:
            return
        del statements[oldest]
    if known is None or statement > known:
        statements[key] = statement
