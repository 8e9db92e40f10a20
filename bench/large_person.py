"""What one event costs segment whose person has many events in windows, and whose has few."""

import time
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from bench import load
from bench.stages import Stages, opened, server_seconds
from tessera.ingest.v1 import event_pb2

_EVENTS = 200
_FEW = 10
_PEOPLE_WITH_FEW = 20


def _events(person: int, numbers: Iterable[int]) -> list[event_pb2.Event]:
    now = int(time.time())
    return [
        event_pb2.Event(
            type=event_pb2.EVENT_TYPE_TRACK,
            name=load.NAMES[number % len(load.NAMES)],
            user_id=f"user-{person}",
            message_id=f"{person}-{number}",
            timestamp=Timestamp(seconds=now - (number * 7919) % (29 * 86_400)),
            properties_json=b'{"price": 10.5}',
        )
        for number in numbers
    ]


async def _apply(stages: Stages, events: list[event_pb2.Event]) -> None:
    await stages.ingest([events[start : start + 500] for start in range(0, len(events), 500)])
    await stages.profile()


async def cost_of_an_event(many: int) -> tuple[float, float]:
    """Processor µs an event, segment's and PostgreSQL's, of who has `many`, and of people with 10 to 20.

    Batches hold a handful, and each person is read once, as of somebody who comes back.
    """
    async with opened(4000, 100) as (stages, server):
        alone = stages.with_batches_of(1)
        await _apply(stages, _events(0, range(many)))
        for person in range(1, _PEOPLE_WITH_FEW + 1):
            await _apply(stages, _events(person, range(_FEW)))
        await stages.segment()
        each = _EVENTS // _PEOPLE_WITH_FEW
        of_few = [e for p in range(_PEOPLE_WITH_FEW) for e in _events(p + 1, range(_FEW, _FEW + each))]
        costs = []
        for events in (_events(0, range(many, many + _EVENTS)), of_few):
            await _apply(alone, events)
            before = time.process_time() + server_seconds(server)
            await alone.segment()
            costs.append((time.process_time() + server_seconds(server) - before) / _EVENTS * 1e6)
    return costs[0], costs[1]
