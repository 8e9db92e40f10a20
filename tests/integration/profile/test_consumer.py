"""The consumer over the real log: exactly once, in order, whatever interleaves or fails."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from libs.database import Connection
from libs.database.embedded import EmbeddedPostgres
from libs.database.migrations import migrate
from libs.database.tables import Sweep
from libs.messaging import Batch, Outcome, PostgresLog, Record
from libs.messaging import schema as log_schema
from libs.messaging.topics import INGEST_EVENTS, PROFILE_UPDATES, Topic
from services.profile.app import SCHEMA, event_handler
from services.profile.directory.sql import SqlDirectory
from services.profile.identity.sql import SqlPeople
from tests.builders import collected
from tests.integration.messaging.harness import running, until
from tests.integration.profile import generated
from tests.integration.profile.harness import Deployment, assert_exact, deployed, key_for, told_again


async def test_generated_histories_are_applied_exactly_once_by_several_workers(
    deployment: Deployment,
) -> None:
    rng = random.Random(1)
    sent = generated.with_duplicates(rng, generated.events(rng, 1500, people=40))
    async with running(deployment.consumer(workers=4, batch_records=60)):
        for number, batch in enumerate(_batches(sent, 30)):
            await deployment.send(*batch, imports=rng.random() < 0.2)
            if number % 8 == 0:
                await deployment.drain()  # only profiles that are stored already can be absorbed
        await deployment.drain()
    merged = await deployment.database.pool.fetchval("select count(merged_into) from profile.profiles")
    blocked = await deployment.database.pool.fetchval(
        "select count(*) from profile.identities where profile_id is null"
    )

    await assert_exact(deployment)
    assert merged >= 10
    assert blocked >= 1
    assert sum(deployment.sent.values()) >= 1.15 * len(deployment.sent)


async def test_duplicates_count_once_across_batches_and_restarts(deployment: Deployment) -> None:
    events = generated.events(random.Random(2), 150)
    await deployment.apply(*events, *events[:50])
    await deployment.apply(*events[100:], *events[:20])

    await assert_exact(deployment)
    counted = sum(profile.events for profile in await deployment.profiles())
    assert 150 == counted + len(await deployment.unassigned())


async def test_the_first_stored_copy_of_an_event_wins(deployment: Deployment) -> None:
    first = collected(user_id="1", message_id="m", traits={"n": 1})
    await deployment.apply(first)
    await deployment.apply(collected(user_id="2", message_id="m", traits={"n": 2}))

    await assert_exact(deployment)
    assert ["u:1"] == [i for profile in await deployment.profiles() for i in profile.identifiers]


async def test_an_event_is_news_again_once_its_id_was_forgotten(deployment: Deployment) -> None:
    event = collected(user_id="1", message_id="m")
    await deployment.apply(event)
    day = int(await deployment.database.pool.fetchval("select day from profile.event_ids") or 0)
    await Sweep(deployment.database, SCHEMA.tables, lambda: (day + 35) * 86_400.0).sweep()
    await deployment.apply(event)
    remembered = (await deployment.profile("u:1")).events
    await Sweep(deployment.database, SCHEMA.tables, lambda: (day + 36) * 86_400.0).sweep()
    await deployment.apply(event)

    assert 1 == remembered
    assert 2 == (await deployment.profile("u:1")).events


async def test_events_that_name_nobody_do_not_stop_their_partition(deployment: Deployment) -> None:
    await deployment.apply(collected(user_id="null"))
    await deployment.apply(collected(anonymous_id="undefined"), collected(user_id="1"))

    await assert_exact(deployment)
    assert [1] == [profile.events for profile in await deployment.profiles()]
    assert 2 == len(await deployment.unassigned())


async def test_a_record_that_cannot_be_parsed_becomes_a_dead_letter_and_the_rest_is_handled(
    deployment: Deployment,
) -> None:
    events = generated.events(random.Random(3), 60)
    await deployment.send(*events[:30])
    broken = [Record(b"key", "tessera.ingest.v1.EventCollected", b"\xff\xff", 1)]
    broken.append(
        Record(b"key", broken[0].type, collected(user_id="1", traits=b"[1]").SerializeToString(), 1)
    )
    await deployment.log.publish(INGEST_EVENTS, broken)
    await deployment.apply(*events[30:])
    letters = [value for *_, value in await deployment.topic("profile.dead_letters")]

    await assert_exact(deployment)
    assert [record.value for record in broken] == letters


class _Gate:
    """Lets the first two who come pass together, and whoever comes later alone."""

    def __init__(self) -> None:
        self.passed = 0
        self._barrier = asyncio.Barrier(2)

    async def wait(self) -> None:
        if self.passed < 2:
            self.passed += 1
            async with asyncio.timeout(60):
                await self._barrier.wait()


def _gated(monkeypatch: pytest.MonkeyPatch, step: str, gate: _Gate, after: bool = False) -> Callable[[], int]:
    """Let two batches meet before or after a step of their transactions; returns what counts its runs."""
    original: Callable[..., Awaitable[Any]] = getattr(SqlPeople, step)
    runs = itertools.count()
    seen = [0]

    async def gated(self: SqlPeople, *arguments: Any) -> Any:
        seen[0] = next(runs) + 1
        if not after:
            await gate.wait()
        result = await original(self, *arguments)
        if after:
            await gate.wait()
        return result

    monkeypatch.setattr(SqlPeople, step, gated)
    return lambda: seen[0]


@pytest.mark.parametrize("common", ["user_id", "email", "phone"])
async def test_one_person_on_two_partitions(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, common: str
) -> None:
    """Both workers find the person unknown before either stores it."""
    gate = _Gate()
    runs = _gated(monkeypatch, "lock", gate, after=True)
    value: dict[str, Any] = {common: {"email": "a@b.co", "phone": "+4930123456"}.get(common, "1")}
    await deployment.send(
        collected(anonymous_id=key_for(0), traits={"n": 1}, **value),
        collected(anonymous_id=key_for(1), traits={"n": 2}, **value),
    )
    async with running(deployment.consumer(workers=2)):
        await deployment.drain()

    await assert_exact(deployment)
    (person,) = await deployment.profiles()
    assert 3 == len(person.identifiers)
    assert 2 == gate.passed
    assert runs() >= 3, "one of the two had to try again"


@pytest.mark.parametrize("step", ["remember", "lock"])
@pytest.mark.parametrize("reverse", [False, True])
async def test_a_merge_meets_an_event_of_the_absorbed_on_another_partition(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, step: str, reverse: bool
) -> None:
    """One worker merges two profiles while another adds to the one that is absorbed."""
    device, login = key_for(0), key_for(1, "login")
    await deployment.apply(*(collected(anonymous_id=device, traits={f"t{n}": n}) for n in range(20)))
    await deployment.apply(*(collected(user_id=login, traits={f"u{n}": n}) for n in range(20)))
    gate = _Gate()
    _gated(monkeypatch, step, gate)
    meeting = [
        collected(user_id=login, previous_id=device, traits={"t3": "merged"}),
        collected(anonymous_id=device, traits={"t3": "added"}),
    ]
    meeting[0].anonymous_id = ""
    await deployment.send(*(reversed(meeting) if reverse else meeting))
    async with running(deployment.consumer(workers=2)):
        await deployment.drain()

    await assert_exact(deployment)
    (person,) = await deployment.profiles()
    assert 42 == person.events
    assert 2 == gate.passed


async def test_an_absorbed_id_answers_for_ever_with_the_survivor(deployment: Deployment) -> None:
    await deployment.apply(collected(anonymous_id="a"))
    await deployment.apply(collected(anonymous_id="b"))
    first = [(await deployment.profile(f"a:{name}")).profile_id for name in "ab"]
    await deployment.apply(collected(anonymous_id="a", previous_id="b"))
    await deployment.apply(collected(user_id="1"))
    await deployment.apply(collected(user_id="1", anonymous_id="b"))
    survivor = await deployment.profile("u:1")
    found = await SqlDirectory(deployment.database).get([*first, survivor.profile_id])

    await assert_exact(deployment)
    assert sorted(first) == sorted(survivor.absorbed)
    assert [survivor] * 3 == list(found.values())


async def test_a_merge_takes_along_what_its_batch_named_and_what_it_did_not(deployment: Deployment) -> None:
    await deployment.apply(collected(anonymous_id="named", previous_id="not named"), collected(user_id="1"))
    await deployment.apply(
        collected(anonymous_id="named", previous_id="new"), collected(user_id="1", anonymous_id="named")
    )

    await assert_exact(deployment)
    assert ["a:named", "a:new", "a:not named", "u:1"] == sorted((await deployment.profile("u:1")).identifiers)


async def test_a_claimed_address_moves_with_the_servers_word(deployment: Deployment) -> None:
    await deployment.apply(collected(user_id="squatter", email="a@b.co", browser=True, traits={}))
    await deployment.apply(collected(user_id="owner", email="a@b.co", traits={"email": "a@b.co"}))
    await deployment.apply(collected(email="a@b.co"))

    await assert_exact(deployment)
    assert ["u:owner", "e:a@b.co"] == (await deployment.profile("e:a@b.co")).identifiers
    assert ["u:squatter"] == (await deployment.profile("u:squatter")).identifiers


class _FailingLog(PostgresLog):
    """Fails now and then when the updates are appended: after the batch was applied in memory."""

    failures = 0

    async def append(self, connection: Connection, topic: Topic, records: Any) -> None:
        await super().append(connection, topic, records)
        if topic is PROFILE_UPDATES and self.failures < 6 and random.random() < 0.5:
            self.failures += 1
            raise ConnectionError("lost on the way")


async def test_the_cache_that_remembers_a_rollback(deployment: Deployment) -> None:
    log = _FailingLog(deployment.database, deployment.log.partitions, session_seconds=2)
    rng = random.Random(4)
    async with running(deployment.consumer(workers=2, batch_records=20, log=log)):
        for batch in _batches(generated.events(rng, 400, people=5), 20):
            await deployment.send(*batch)
        await deployment.drain()

    await assert_exact(deployment)
    assert log.failures == 6


class _Stubborn:
    """Keeps its cache whatever happens, so that only the check of the revision protects it."""

    def __init__(self) -> None:
        handler = event_handler()
        self.handle, self.maintain = handler.handle, handler.maintain

    def forget(self) -> None:
        return


async def test_a_cache_entry_counts_only_at_the_revision_of_the_locked_row(deployment: Deployment) -> None:
    """Two groups' worth of workers with long memories take turns at the same people."""
    handlers = [_Stubborn(), _Stubborn()]
    rng = random.Random(5)
    for number, batch in enumerate(_batches(generated.events(rng, 300, people=4), 25)):
        await deployment.apply(*batch, handler=lambda turn=number: handlers[turn % 2], workers=1)

    await assert_exact(deployment)


async def test_the_history_meets_the_stream_at_one_revision(deployment: Deployment) -> None:
    rng = random.Random(6)
    read = 0
    async with running(deployment.consumer(workers=2, batch_records=20)):
        while read < 60:
            await deployment.send(*generated.events(rng, 8, people=4))
            # Who is merged while the pages are read may stand on two of them.
            ids = {profile.profile_id for profile in await deployment.profiles()}
            snapshots = await deployment.histories(ids)
            told = await deployment.updates()
            for profile_id, (revision, steps) in snapshots.items():
                if steps and not steps[-1].merged_into:
                    read += 1
                    assert list(range(1, revision + 1)) == [step.revision for step in steps]
                    upto = [
                        told_again(update).events
                        for update in told[profile_id]
                        if update.revision <= revision
                    ]
                    assert upto == [step.events for step in steps]
        await deployment.drain()

    await assert_exact(deployment)


async def test_a_history_of_nobody_and_of_an_absorbed_profile_end_with_a_revision(
    deployment: Deployment,
) -> None:
    await deployment.apply(collected(anonymous_id="a"))
    absorbed = (await deployment.profile("a:a")).profile_id
    await deployment.apply(collected(user_id="1"))
    await deployment.apply(collected(user_id="1", anonymous_id="a"))
    nobody = "11111111-1111-1111-1111-111111111111"
    found = await deployment.histories([nobody, absorbed])

    assert (0, []) == found[nobody]
    assert 2 == found[absorbed][0]
    assert [(await deployment.profile("u:1")).profile_id] == [s.merged_into for s in found[absorbed][1]]


async def test_imports_wait_for_live_events(deployment: Deployment) -> None:
    old = [collected(user_id="1", traits={"n": n}, at=n + 1) for n in range(50)]
    await deployment.send(*old, imports=True)
    await deployment.send(*(collected(user_id="1", traits={"live": n}) for n in range(50)))
    async with running(deployment.consumer(workers=1)):
        await deployment.drain()
    (history,) = (await deployment.histories([(await deployment.profile("u:1")).profile_id])).values()
    order = ["live" if b"live" in e.traits_json else "import" for step in history[1] for e in step.events]

    await assert_exact(deployment)
    assert ["live"] * 50 + ["import"] * 50 == order


async def test_the_database_restarts_in_the_middle(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    await server.start()
    try:
        await migrate(server.url(), log_schema.SCHEMA)
        async with deployed(server.url()) as deployment:
            rng = random.Random(7)
            events = generated.events(rng, 600)
            for batch in _batches(events, 20):
                await deployment.send(*batch)
            handled = _Counting()
            async with running(deployment.consumer(lambda: handled, workers=1, batch_records=20)):
                await until(lambda: handled.batches >= 3, 60, "some batches")
                await server.stop()
                before = handled.records
                await server.start()
                await deployment.drain()

            await assert_exact(deployment)
            assert before < 600
    finally:
        await server.stop()


class _Counting:
    """Counts what it handles."""

    def __init__(self) -> None:
        self.batches = 0
        self.records = 0
        self._handler = event_handler()
        self.maintain, self.forget = self._handler.maintain, self._handler.forget

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        outcome = await self._handler.handle(connection, batch)
        self.batches += 1
        self.records += len(batch.records)
        return outcome


def _batches(events: Collection[Any], size: int) -> list[list[Any]]:
    every = list(events)
    return [every[start : start + size] for start in range(0, len(every), size)]
