"""Processes for tests to kill: `python -m tests.integration.messaging.programs NAME OPTIONS`."""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from libs.database import Connection, Database
from libs.lifecycle import run_until_stopped
from libs.messaging import Batch, EventLog, Outcome
from tests.integration.messaging.harness import (
    EVENTS,
    UPDATES,
    Deployment,
    Effects,
    consumer,
    numbered,
)


class _Slow(Effects):
    """Stays in each batch for a while, after its writes: where a kill hurts most."""

    def __init__(self, stage: str, seconds: float) -> None:
        super().__init__(stage, UPDATES)
        self._seconds = seconds

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        outcome = await super().handle(connection, batch)
        print(f"in batch {len(batch.records)}", flush=True)
        await asyncio.sleep(self._seconds)
        return outcome


async def consume(database: Database, event_log: EventLog, options: dict[str, Any]) -> None:
    """A member of the group of `test.events`."""
    print("ready", flush=True)
    await run_until_stopped(
        consumer(database, event_log, lambda: _Slow("first", options["seconds"]), **options["settings"])
    )


async def relay(database: Database, event_log: EventLog, options: dict[str, Any]) -> None:
    """Ships the outbox."""
    deployment = Deployment(**options["deployment"])
    print("ready", flush=True)
    await run_until_stopped(*deployment.relay(database))


async def publish(database: Database, event_log: EventLog, options: dict[str, Any]) -> None:
    """Publishes from several tasks and prints a value once it is acknowledged."""

    async def write(writer: str) -> None:
        number = 0
        while True:
            records = numbered(writer, number, 10)
            await event_log.publish(EVENTS, records)
            print("\n".join(record.value.decode() for record in records), flush=True)
            number += len(records)
            await asyncio.sleep(0.005)  # a load, not a flood: all of it is read back

    print("ready", flush=True)
    await asyncio.gather(*(write(f"{options['name']}.{n}") for n in range(4)))


_PROGRAMS: dict[str, Callable[[Database, EventLog, dict[str, Any]], Awaitable[None]]] = {
    "consume": consume,
    "relay": relay,
    "publish": publish,
}


async def main() -> None:
    """Run the program that the command line names."""
    options = json.loads(sys.argv[2])
    async with Deployment(**options["deployment"]).open(sys.argv[1]) as (database, event_log):
        await _PROGRAMS[sys.argv[1]](database, event_log, options)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    # Standard output is what the test reads.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main())
