"""The events and segments that the benchmarks send: plausible, seeded, the same in every run."""

import random
import time
import uuid
from collections.abc import Iterator

import orjson

from tessera.ingest.v1 import event_pb2
from tessera.segment.v1 import segment_pb2

NAMES = (
    "Product Viewed",
    "Product Added",
    "Order Completed",
    "Email Opened",
    "Cart Viewed",
    "Signed Up",
    "Search Performed",
    "Checkout Started",
    "Wishlist Added",
    "Email Link Clicked",
)
COUNTRIES = ("Germany", "France", "United Kingdom", "Spain")
# Every person's first event is anonymous, and the second names them on another device: one merge each.
_ANONYMOUS_SHARE = 0.1


def batches(
    events: int, people: int, size: int = 500, seed: int = 7, devices: int = 2
) -> Iterator[list[event_pb2.Event]]:
    """`events` events of `people` people, with logins that merge, traits and properties."""
    rng = random.Random(seed)
    batch: list[event_pb2.Event] = []
    for _ in range(events):
        batch.append(_event(rng, rng.randrange(people), devices))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def first_events(people: int, size: int = 500) -> Iterator[list[event_pb2.Event]]:
    """One event of each of `people` people, by the user id and the first device that `batches` gives them."""
    for first in range(0, people, size):
        yield [
            event_pb2.Event(
                type=event_pb2.EVENT_TYPE_TRACK,
                name=NAMES[person % len(NAMES)],
                user_id=f"user-{person}",
                anonymous_id=f"device-{person}-0",
                message_id=f"first-{person}",
                properties_json=b'{"price": 10.5}',
            )
            for person in range(first, min(first + size, people))
        ]


def _event(rng: random.Random, person: int, devices: int) -> event_pb2.Event:
    event = event_pb2.Event(
        message_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        anonymous_id=f"device-{person}-{rng.randrange(devices)}",
    )
    event.timestamp.FromMicroseconds(int((time.time() - rng.random() * 40 * 86_400) * 1_000_000))
    if rng.random() > _ANONYMOUS_SHARE:
        event.user_id = f"user-{person}"
    if event.user_id and rng.random() < 0.05:
        event.type = event_pb2.EVENT_TYPE_IDENTIFY
        traits = {
            "country": COUNTRIES[person % 4],
            "plan": ("free", "pro")[person & 1],
            "age": 18 + person % 60,
        }
        event.traits_json = orjson.dumps(traits)
        return event
    event.type = event_pb2.EVENT_TYPE_TRACK
    event.name = rng.choice(NAMES)
    event.properties_json = orjson.dumps(
        {
            "product_id": f"sku-{rng.randrange(9999)}",
            "price": round(rng.random() * 100, 2),
            "currency": "EUR",
            "quantity": rng.randrange(1, 5),
            "category": "shoes",
            "url": f"https://shop.example.com/p/{rng.randrange(10**6)}",
            "campaign": {"source": "newsletter", "medium": "email"},
        }
    )
    return event


def segments(count: int, seed: int = 3) -> list[segment_pb2.Segment]:
    """`count` segments over event counts and sums in windows, and traits."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        window = rng.choice(("", '.within("7d")', '.within("30d")'))
        aggregate = rng.choice((".count() >= {}", ".count() >= {}", '.sum("price") > {}0.0'))
        rule = f'events("{name}"){window}{aggregate.format(rng.randrange(1, 6))}'
        rule += f' && traits.country == "{rng.choice(COUNTRIES)}"'
        rule += f' && (traits.plan == "pro" || traits.age > {rng.randrange(20, 60)})'
        found.append(segment_pb2.Segment(segment_id=f"segment-{number}", expression=rule))
    return found
