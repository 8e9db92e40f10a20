"""Waits until a Kafka that has just started, or has just made topics, can do what it promises.

A broker names a partition's leader before that one leads, and a group's coordinator before that one
has read what it coordinates. Whoever comes in between is refused, and aiokafka logs each refusal as an
error; so we ask until nobody refuses.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from aiokafka.protocol.admin import DescribeGroupsRequest  # type: ignore[import-untyped]
from aiokafka.protocol.coordination import FindCoordinatorRequest  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]
from aiokafka.protocol.offset import OffsetRequest  # type: ignore[import-untyped]

from libs.errors import Unavailable
from libs.messaging.kafka_access import KafkaAccess

_READY_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
_GROUP_TYPE = 0
_LATEST = -1
_ANYBODY = -1
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
_NOT_YET = frozenset({14, 15, 16})


async def await_leaders(access: KafkaAccess, topics: Collection[str]) -> None:
    """Return when every partition of some topics has a leader that leads; Unavailable if that takes long."""
    async with _connected(access) as client:
        await _until(lambda: _all_led(client, frozenset(topics)), "has no leader for a partition")


async def await_coordinator(access: KafkaAccess, group: str) -> None:
    """Return when a group has a coordinator that knows of it; Unavailable if that takes long."""
    async with _connected(access) as client:
        await _until(lambda: _is_coordinated(client, group), f"has no coordinator for {group}")


@asynccontextmanager
async def _connected(access: KafkaAccess) -> AsyncIterator[Any]:
    client = AIOKafkaClient(**access.options(), client_id="tessera")
    try:
        await client.bootstrap()
        yield client
    except KafkaError as error:
        raise Unavailable("Kafka does not answer", error=repr(error)) from error
    finally:
        await client.close()


async def _until(holds: Callable[[], Awaitable[bool]], problem: str) -> None:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not await holds():  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        raise Unavailable(f"Kafka {problem}, after {_READY_SECONDS:g} s") from None


async def _all_led(client: Any, topics: frozenset[str]) -> bool:
    # All are asked for: to ask for one by its name creates it, where a broker is set so.
    metadata = await client.send(client.get_random_node(), MetadataRequest())
    found = [topic for topic in metadata.to_object()["topics"] if topic["topic"] in topics]
    partitions = [(topic["topic"], partition) for topic in found for partition in topic["partitions"]]
    if len(found) < len(topics) or any(p["error_code"] or p["leader"] < 0 for _, p in partitions):
        return False
    led: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for topic, partition in partitions:
        led[partition["leader"]][topic].append((partition["partition"], _LATEST))
    for leader, asked in led.items():
        answer = await client.send(leader, OffsetRequest(_ANYBODY, 0, list(asked.items())))
        if any(p["error_code"] for topic in answer.to_object()["topics"] for p in topic["partitions"]):
            return False
    return True


async def _is_coordinated(client: Any, group: str) -> bool:
    found = await client.send(client.get_random_node(), FindCoordinatorRequest(group, _GROUP_TYPE))
    if found.error_code:
        # What is no matter of waiting, such as a right that is missing, the consumer tells better.
        return found.error_code not in _NOT_YET
    answer = await client.send(found.coordinator_id, DescribeGroupsRequest([group]))
    return not any(known["error_code"] in _NOT_YET for known in answer.to_object()["groups"])
