"""Generated histories: people with several devices and addresses, who are mixed up now and then."""

import random
from typing import Any

from tessera.ingest.v1.ingest_events_pb2 import EventCollected
from tests.builders import SECOND, collected, micros


def events(rng: random.Random, count: int, people: int = 12) -> list[EventCollected]:
    """Events in order of arrival: late ones, equal times, traits, consent, merges and limits among them."""
    start = micros() - 3600 * SECOND
    return [_event(rng, number, start, people) for number in range(count)]


def with_duplicates(rng: random.Random, sent: list[EventCollected]) -> list[EventCollected]:
    """The same with retries, some of them much later."""
    arriving = list(sent)
    for event in rng.sample(sent, len(sent) // 5):
        arriving.insert(rng.randint(arriving.index(event), len(arriving)), event)
    return arriving


def _event(rng: random.Random, number: int, start: int, people: int) -> EventCollected:
    person = rng.randrange(people)
    browser = rng.random() < 0.4
    identifiers: dict[str, Any] = {"anonymous_id": f"device {person} {rng.randrange(3)}"}
    if rng.random() < 0.4:
        identifiers["user_id"] = f"user {person}"
    if rng.random() < 0.3:
        identifiers["email"] = f"person{person}.{rng.randrange(2)}@example.com"
    if rng.random() < 0.05:
        identifiers["email"] = f"person{rng.randrange(people)}.0@example.com"
    if not browser and rng.random() < 0.3:
        del identifiers["anonymous_id"]
        identifiers.setdefault("phone", f"+4930{person:06}")
    traits: dict[str, object] | None = None
    if rng.random() < 0.4:
        traits = {rng.choice(["plan", "age", "city"]): rng.choice([1, "1", None, 2**53 + 1, [1], "Köln"])}
        if "email" in identifiers:
            traits["email"] = identifiers["email"]
    consent = {"email_marketing": rng.random() < 0.5} if rng.random() < 0.1 else None
    return collected(
        traits=traits,
        message_id=f"generated {start} {number}",
        browser=browser,
        consent=consent,
        at=start + rng.randrange(40) * SECOND,
        received=start + number,
        **identifiers,
    )
