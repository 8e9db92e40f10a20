"""What a person allows: a refusal stands until a server says something that is surely newer."""

from collections.abc import Iterable

from tests.model.events import SECOND, Event

# Clocks may be so wrong that the order of arrival is the true one.
_SKEW = 300 * SECOND


def earliest(event: Event) -> int:
    """When what it says can have been said at the earliest."""
    return min(event.time, _received(event))


def latest(event: Event) -> int:
    """When it can have been said at the latest; what came late is believed its own time."""
    received = _received(event)
    return max(event.time, received) if received - event.time <= _SKEW else event.time


def _received(event: Event) -> int:
    return event.received or event.time


def changes(events: Iterable[Event], purpose: str, slack: int = 0) -> list[tuple[int, bytes, bool]]:
    """When a purpose was allowed or refused, one after another, each by which event."""
    said = []
    for event in events:
        if purpose in event.consent:
            granted = event.consent[purpose]
            moment = earliest(event) if granted else latest(event) - slack
            # At one moment the refusal comes last, so that it holds.
            said.append((moment, not granted, event))
    found: list[tuple[int, bytes, bool]] = []
    for moment, refused, event in sorted(said, key=lambda s: (s[0], s[1], s[2].event_id)):
        stands = bool(found) and not found[-1][2]
        if refused or event.trusted or not stands:
            found.append((moment, event.event_id, not refused))
    return found


def consent_of(events: Iterable[Event], slack: int = 0) -> dict[str, bool]:
    """What holds in the end, by purpose."""
    events = list(events)
    purposes = {purpose for event in events for purpose in event.consent}
    return {purpose: changes(events, purpose, slack)[-1][2] for purpose in purposes}
