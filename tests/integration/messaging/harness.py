"""What the tests of both logs share: a deployment of either kind, handlers that count, ways to wait."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from libs.database import Connection, Database, open_database
from libs.lifecycle import Component
from libs.messaging import (
    Batch,
    Consumer,
    ConsumerSettings,
    EventLog,
    Handler,
    Outcome,
    PostgresLog,
    Record,
    Topic,
)
from libs.messaging.kafka import KafkaLog
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.relay import Relay

EVENTS = Topic("test.events", owner="test", readers=("reads test.events",))
UPDATES = Topic("test.updates", owner="test", readers=("reads test.updates",))
IMPORTS = Topic("test.imports", owner="test", readers=("reads test.events",))
TYPED = Topic("test.typed", owner="test", readers=("reads test.typed",), types=frozenset({"test.Happened"}))
LETTERS = Topic("test.dead_letters", owner="test")
TOPICS = (EVENTS, UPDATES, IMPORTS, LETTERS)

SESSION_SECONDS = 2.0
LEASE_SECONDS = 1.0
POISON = b"poison"

_EFFECTS = """
create table effects (
  effect_id bigint generated always as identity,
  stage text not null,
  topic text not null,
  partition int not null,
  key text not null,
  value text not null
)
"""


@dataclass(frozen=True)
class Deployment:
    """One database, one log, one namespace: what a test's processes share."""

    kafka: str
    """Its servers; empty for the log in PostgreSQL."""
    database_url: str
    namespace: str
    partitions: int = 4

    @asynccontextmanager
    async def open(self, application: str = "test") -> AsyncIterator[tuple[Database, EventLog]]:
        async with open_database(self.database_url, application) as database:
            if not self.kafka:
                yield (
                    database,
                    PostgresLog(database, self.partitions, self.namespace, session_seconds=SESSION_SECONDS),
                )
                return
            event_log = KafkaLog(
                database,
                self.access,
                self.partitions,
                self.namespace,
                session_seconds=SESSION_SECONDS,
            )
            try:
                yield database, event_log
            finally:
                await event_log.close()

    @property
    def access(self) -> KafkaAccess:
        """The way into its Kafka."""
        return KafkaAccess(self.kafka)

    async def declare(self) -> None:
        async with self.open() as (database, event_log):
            await event_log.declare(TOPICS)
            await database.pool.execute(_EFFECTS)

    def relay(self, database: Database) -> list[Component]:
        """What ships the outbox, where there is one."""
        if not self.kafka:
            return []
        return [Relay(database, self.access, TOPICS, "test", self.namespace, lease_seconds=LEASE_SECONDS)]


class Program:
    """A process that can be killed or stopped, and the lines that it printed."""

    def __init__(self, program: str, options: str, output: Path) -> None:
        self._output = output
        command = [sys.executable, "-m", "tests.integration.messaging.programs", program, options]
        with output.open("wb") as lines, output.with_suffix(".log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=lines, stderr=log)

    def lines(self) -> list[str]:
        """The complete lines so far."""
        return self._output.read_text().split("\n")[:-1]

    async def ready(self) -> None:
        await until(lambda: self.said("ready"), 120, f"{self._output.name} is ready")

    def said(self, line: str) -> bool:
        if self._process.poll() not in (None, 0, -signal.SIGKILL):
            log = self._output.with_suffix(".log").read_text()
            raise AssertionError(f"{self._output.name} ended with {self._process.poll()}:\n{log[-3000:]}")
        return line in self.lines()

    def log(self) -> str:
        return self._output.with_suffix(".log").read_text()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and see that it does so well."""
        self._process.terminate()
        assert self._process.wait(60) == 0, self.log()[-3000:]


class Programs:
    """Starts programs and leaves none behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Program] = []

    def start(self, deployment: Deployment, program: str, **options: object) -> Program:
        """Run one of `programs` in a process of its own."""
        output = self._folder / f"{program}{len(self._started)}"
        self._started.append(
            Program(program, json.dumps({"deployment": asdict(deployment), **options}), output)
        )
        return self._started[-1]

    def end(self) -> None:
        for program in self._started:
            program.kill()


class Effects:
    """Writes a row for each record inside the handler's transaction, and may pass records on."""

    def __init__(self, stage: str, passes_to: Topic | None = None) -> None:
        self.stage = stage
        self.handled = 0
        self.forgotten = 0
        self._passes_to = passes_to

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        if any(record.value == POISON for record in batch.records):
            raise ValueError("poisoned")
        columns = zip(
            *((r.topic, r.partition, r.key.decode(), r.value.decode()) for r in batch.records), strict=True
        )
        await connection.execute(
            "insert into effects (stage, topic, partition, key, value) "
            "select $1, * from unnest($2::text[], $3::int[], $4::text[], $5::text[])",
            self.stage,
            *columns,
        )
        self.handled += len(batch.records)
        if self._passes_to is None:
            return Outcome()
        # Under another key, so that every worker writes every partition.
        passed = [Record(r.key[::-1], "test.Passed", r.value, r.time) for r in batch.records]
        return Outcome([(self._passes_to, passed)])

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        self.forgotten += 1


def consumer(
    database: Database,
    event_log: EventLog,
    handler: Handler | Callable[[], Handler],
    topic: Topic = EVENTS,
    **options: object,
) -> Consumer:
    """A member of a group named after its topic."""
    settings = ConsumerSettings(
        **{  # type: ignore[arg-type]
            "group": f"reads {topic.name}",
            "topics": (topic,),
            "dead_letters": LETTERS,
            "batch_records": 200,
            "tick_seconds": 0.1,
            **options,
        }
    )
    return Consumer(database, event_log, settings, handler if callable(handler) else lambda: handler)


@asynccontextmanager
async def running(*components: Component) -> AsyncIterator[None]:
    """Run components beside the test; their failures are the test's."""
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(component.run(stopping)) for component in components]
    body = asyncio.current_task()
    assert body is not None
    for task in tasks:
        task.add_done_callback(lambda ended: None if stopping.is_set() else body.cancel(repr(ended)))
    try:
        yield
    except asyncio.CancelledError:
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
        if not failed:
            raise
        body.uncancel()
        failed[0].result()
    finally:
        stopping.set()
        _, pending = await asyncio.wait(tasks, timeout=60) if tasks else (set(), set())
        for task in pending:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not pending, f"did not stop: {pending}"
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def until(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 60, what: str = "the condition"
) -> None:
    """Wait for a condition, and fail when it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        pause = 0.01
        if not isinstance(holds, bool):
            holds, pause = await holds, 0.05  # a query, most of the time
        if holds:
            return
        assert time.monotonic() < deadline, f"{what} did not come in {seconds} s"
        await asyncio.sleep(pause)


async def counted(database: Database, stage: str) -> int:
    """How many effects a stage has had."""
    return int(await database.pool.fetchval("select count(*) from effects where stage = $1", stage))


async def until_counted(database: Database, stage: str, count: int, seconds: float = 120) -> None:
    """Wait until a stage has had so many effects."""

    async def reached() -> bool:
        return await counted(database, stage) >= count

    await until(reached, seconds, f"{count} effects of {stage}")


def numbered(writer: str, start: int, count: int, keys: int = 37) -> list[Record]:
    """Records that tell, in their values, their writer's order."""
    now = time.time_ns() // 1000
    return [
        Record(f"key {writer} {number % keys}".encode(), "test.Happened", f"{writer} {number}".encode(), now)
        for number in range(start, start + count)
    ]


async def assert_once_and_in_order(database: Database, stage: str, values: Sequence[str]) -> None:
    """Each value had one effect, and each key had its writer's order."""
    rows = await database.pool.fetch(
        "select key, value from effects where stage = $1 order by effect_id", stage
    )

    assert sorted(values) == sorted(row["value"] for row in rows)
    last: dict[tuple[str, str], int] = {}
    for row in rows:
        writer, _, number = row["value"].rpartition(" ")
        assert last.get((row["key"], writer), -1) < int(number), row
        last[row["key"], writer] = int(number)
