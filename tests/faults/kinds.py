"""The faults: each hurts a running system once and tells when it struck and when what it hit was back."""

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import psutil

from cli.ports import SERVICES, address
from cli.readiness import listens
from tests.faults import disk
from tests.faults.members import joining
from tests.faults.production import Production
from tests.faults.proxy import Proxy
from tests.faults.system import System
from tests.integration.messaging.harness import until

# Two busy cores take their time to start a process; what counts begins when it accepts connections.
_BACK_SECONDS = 180


@dataclass(frozen=True)
class Strike:
    """One fault that came true. Times are `time.time()`'s."""

    at: float
    back: float
    """When what was hit accepted connections again."""
    proof: str
    """How it shows that it was hit."""
    ready: float | None = None
    """When all was ready, where the fault itself has waited for it."""


Fault = Callable[[System, random.Random], Awaitable[Strike]]

CONSUMERS = ("profile", "segment", "render")
# Each has its turn, whatever the seed.
_zombies, _pairs = itertools.cycle(CONSUMERS), itertools.cycle(CONSUMERS)
_REFUSED_SECONDS = 20.0
_FULL_SECONDS = 5.0


def kill_process(name: str) -> Fault:
    """SIGKILL for a process that a supervisor starts again."""

    async def fault(system: System, rng: random.Random) -> Strike:
        before = system.process_of(name)
        assert before is not None, f"{name} does not run"
        at = time.time()
        os.kill(before, signal.SIGKILL)
        await until(lambda: system.process_of(name) not in (None, before), _BACK_SECONDS, f"a new {name}")
        where = system.grpc_addresses()[name]
        await until(lambda: listens(where), _BACK_SECONDS, f"that {name} accepts connections")
        return Strike(at, time.time(), f"process {before} became {system.process_of(name)}")

    return fault


async def kill_postmaster(system: System, rng: random.Random) -> Strike:
    """SIGKILL for PostgreSQL's first process; the others end by themselves when they notice."""
    before, at = system.postmaster(), time.time()
    assert before is not None
    os.kill(before, signal.SIGKILL)

    async def is_back() -> bool:
        return system.postmaster() not in (None, before) and await system.postgres_accepts()

    await until(is_back, _BACK_SECONDS, "that PostgreSQL accepts connections")
    return Strike(at, time.time(), f"postmaster {before} became {system.postmaster()}")


async def kill_backend(system: System, rng: random.Random) -> Strike:
    """SIGKILL for one session in the middle of its work; PostgreSQL ends all others and recovers."""
    async with system.admin() as connection:
        at, killed = time.time(), ""

        async def kill_one_at_work() -> bool:
            nonlocal at, killed
            rows = await connection.fetch(
                "select pid, application_name as name, state from pg_stat_activity "
                "where backend_type = 'client backend' and state <> 'idle' and pid <> pg_backend_pid()"
            )
            if rows:
                row = rng.choice(rows)
                at, killed = time.time(), f"{row['name']} ({row['state']})"
                os.kill(row["pid"], signal.SIGKILL)
            return bool(rows)

        await until(kill_one_at_work, 20, "a session at work")
        await until(connection.is_closed, 20, "that all sessions end")
    await until(system.postgres_accepts, _BACK_SECONDS, "that PostgreSQL accepts connections")
    return Strike(at, time.time(), f"the session of {killed}, then all others")


async def kill_up(system: System, rng: random.Random) -> Strike:
    """SIGKILL for `tessera up`, which takes the services with it; then it is started again."""
    process = system.up.process
    assert process is not None
    children = [system.process_of(name) for name in SERVICES]
    at = time.time()
    await asyncio.to_thread(system.up.stop, signal.SIGKILL)
    await until(lambda: not any(map(psutil.pid_exists, filter(None, children))), 10, "that all services end")
    starting = asyncio.create_task(asyncio.to_thread(system.up.start))
    # What was killed is all of it: it is back when the last of its processes accepts connections.
    for where in (address(system.ports.http), *system.grpc_addresses().values()):
        await until(lambda w=where: listens(w), _BACK_SECONDS, f"that {where} accepts connections")  # type: ignore[misc]
    back = time.time()
    await starting
    assert system.up.process is not None
    return Strike(at, back, f"tessera up {process.pid} became {system.up.process.pid}")


async def kill_broker(system: System, rng: random.Random) -> Strike:
    """SIGKILL for Kafka, which somebody starts again a moment later."""
    assert isinstance(system, Production)
    at = time.time()
    await asyncio.to_thread(system.broker.kill)
    await asyncio.sleep(rng.uniform(0, 3))
    await asyncio.to_thread(system.broker.start)
    return Strike(at, time.time(), "the broker ended and was started again")


def refuse(network: Callable[[Production], Proxy]) -> Fault:
    """A network that ends all connections and refuses new ones for a while."""

    async def fault(system: System, rng: random.Random) -> Strike:
        assert isinstance(system, Production)
        proxy = network(system)
        cut, at = proxy.cut, time.time()
        await proxy.refuse()
        await asyncio.sleep(_REFUSED_SECONDS)
        await proxy.accept()
        assert proxy.cut > cut, "nobody was connected"
        return Strike(at, time.time(), f"{proxy.cut - cut} connections were cut")

    return fault


async def fill_the_disk(system: System, rng: random.Random) -> Strike:
    """PostgreSQL's disk is full until somebody makes room."""
    assert isinstance(system, Production)
    folder, at, refused = system.postgres_folder, time.time(), ""
    assert await _refuses_to_grow(system) == "", "PostgreSQL has space"

    async def is_hit() -> bool:
        nonlocal refused
        disk.fill(folder)  # again and again: what PostgreSQL gives free must not help it
        refused = await _refuses_to_grow(system)
        return bool(refused)

    await until(is_hit, _BACK_SECONDS, "that PostgreSQL finds no space")
    end = time.time() + rng.uniform(_FULL_SECONDS, 2 * _FULL_SECONDS)
    while time.time() < end:
        await is_hit()
        await asyncio.sleep(0.2)
    disk.empty(folder)
    await until(system.postgres_accepts, _BACK_SECONDS, "that PostgreSQL accepts connections")
    return Strike(at, time.time(), f"PostgreSQL said {refused}")


async def _refuses_to_grow(system: System) -> str:
    """What PostgreSQL says when it is asked to write some megabytes; nothing where it does."""
    try:
        async with system.admin() as connection:
            await connection.execute("create table if not exists public.growing (a text)")
            await connection.execute(
                "insert into growing select repeat('x', 900) from generate_series(1, 2000)"
            )
            await connection.execute("drop table growing")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return repr(error)
    return ""


async def wake_a_zombie(system: System, rng: random.Random) -> Strike:
    """SIGSTOP for a consumer until others have its partitions, then SIGCONT: it must not write."""
    with joining(system, next(_zombies)) as (member,):
        await member.until_it_works()
        await asyncio.sleep(rng.uniform(0.5, 2))
        had, at = member.assigned(), time.time()
        member.process.send_signal(signal.SIGSTOP)
        await member.until_others_have_all()
        # They have gone on before it comes back.
        await asyncio.sleep(rng.uniform(0.5, 2))
        position, back = member.log.stat().st_size, time.time()
        member.process.send_signal(signal.SIGCONT)
        await member.until_it_works(position)
        await system.until_ready()
        ready = time.time()
        told = [line.get("error", line["event"]) for line in member.lines_since(position)]
        await member.leave()
    proof = f"{member.name} had {sorted(had)}, was away {back - at:.0f} s, said {told[0]}"
    return Strike(at, back, proof, ready)


async def join_and_leave(system: System, rng: random.Random) -> Strike:
    """Two further consumers of one service join, work for a moment, and leave one after the other."""
    service = next(_pairs)
    at = time.time()
    with joining(system, service, service) as members:
        for member in members:
            await member.until_it_works()
        had = [sorted(member.assigned()) for member in members]
        for member in members:
            await asyncio.sleep(rng.uniform(0, 2))
            await member.leave()
        await members[0].until_others_have_all()
    return Strike(at, time.time(), f"two more of {service} had {had}")


SIGKILL_OF_SERVICES = {f"SIGKILL of {name}": kill_process(name) for name in SERVICES}
SIGKILL_OF_POSTGRESQL = {
    "SIGKILL of PostgreSQL's postmaster": kill_postmaster,
    "SIGKILL of a PostgreSQL backend": kill_backend,
}
SIGKILL_OF_UP = {"SIGKILL of `tessera up`": kill_up}
SIGKILL_OF_KAFKA = {
    "SIGKILL of Kafka": kill_broker,
    "SIGKILL of the relay": kill_process("profile relay"),
    "SIGKILL of a consumer": kill_process("profile consumer 1"),
}
ZOMBIE = {"SIGSTOP of a consumer beyond its session, SIGCONT": wake_a_zombie}
MEMBERS = {"two consumers join and leave": join_and_leave}
NETWORK = {
    "network to PostgreSQL refused for 20 s": refuse(lambda system: system.postgres_network),
    "network to Kafka refused for 20 s": refuse(lambda system: system.kafka_network),
}
DISK = {"disk of PostgreSQL full": fill_the_disk}
