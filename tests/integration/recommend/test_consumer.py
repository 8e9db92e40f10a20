import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from libs import rpc
from libs.database import Database
from libs.errors import Unavailable
from libs.messaging import Consumer, ConsumerSettings, PostgresLog
from libs.messaging.topics import PROFILE_UPDATES, RECOMMEND_DEAD_LETTERS
from libs.profile_feed import Histories, ProfileHistories
from services.recommend.app import handler_of
from services.recommend.catalog.model import Price, Product
from services.recommend.catalog.sql import SqlProducts
from services.recommend.interactions.model import Update
from services.recommend.interactions.wire import update_of
from tessera.ingest.v1 import event_pb2
from tessera.profile.v1 import history_pb2, history_service_pb2, history_service_pb2_grpc, profile_events_pb2
from tests.integration.recommend.steps import DAY, ordered, records, step, viewed

ADA = "00000000-0000-4000-8000-000000000001"
BOB = "00000000-0000-4000-8000-000000000002"


class FakeProfile(history_service_pb2_grpc.HistoryServiceServicer):
    """Answers with histories, after as many failures as it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.histories: dict[str, list[profile_events_pb2.ProfileUpdated]] = {}
        self.failures = failures
        self.unreadable: set[str] = set()

    async def ReadHistory(  # noqa: N802
        self, request: history_service_pb2.ReadHistoryRequest, context: Any
    ) -> AsyncIterator[history_service_pb2.ReadHistoryResponse]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("profile is not well")
        if self.unreadable.intersection(request.profile_ids):
            raise RuntimeError("one of these histories is broken")
        for profile_id in request.profile_ids:
            told = self.histories.get(profile_id, [])
            steps = [
                history_pb2.HistoryStep.FromString(step.SerializeToString())
                for step in told
                if step.revision > request.after_revisions[profile_id]
            ]
            yield history_service_pb2.ReadHistoryResponse(profile_id=profile_id, steps=steps)
            yield history_service_pb2.ReadHistoryResponse(profile_id=profile_id, revision=len(told))


@asynccontextmanager
async def _served(profile: FakeProfile) -> AsyncIterator[Histories[Update]]:
    """Profile's API on a port of its own, and the way to it."""
    add = history_service_pb2_grpc.add_HistoryServiceServicer_to_server
    keys = rpc.ApiKeys({KEY_HASH: rpc.Caller("recommend", frozenset({"profile.history", "pii.read"}))})
    server = rpc.RpcServer("127.0.0.1:0", [(add, profile)], api_keys=keys)
    await server.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(server.run(stopping))
    try:
        async with rpc.open_channel(server.address, api_key="secret") as channel:
            yield ProfileHistories(channel, update_of)
    finally:
        stopping.set()
        await running


# SHA-256 of "secret".
KEY_HASH = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"


@asynccontextmanager
async def _consuming(
    database: Database, histories: Histories[Update], batch_records: int = 3
) -> AsyncIterator[PostgresLog]:
    log = PostgresLog(database, 4, "test")
    await log.declare([PROFILE_UPDATES, RECOMMEND_DEAD_LETTERS])
    settings = ConsumerSettings(
        "recommend",
        (PROFILE_UPDATES,),
        RECOMMEND_DEAD_LETTERS,
        workers=1,
        batch_records=batch_records,
        tick_seconds=0.02,
    )
    consumer = Consumer(database, log, settings, lambda: handler_of(histories, 4))
    stopping = asyncio.Event()
    running = asyncio.create_task(consumer.run(stopping))
    try:
        yield log
    finally:
        stopping.set()
        await running


async def _follow(
    database: Database, log: PostgresLog, steps: Sequence[profile_events_pb2.ProfileUpdated]
) -> dict[tuple[str, str], int]:
    """Append steps, wait until they are applied; returns the weights."""
    async with database.begin() as connection:
        await log.append(connection, PROFILE_UPDATES, records(steps))
    wanted = {s.profile_id: s.revision for s in steps}
    async with asyncio.timeout(30):
        while True:
            found = await database.pool.fetch("select profile_id::text, revision from recommend.profiles")
            if all(dict(map(tuple, found)).get(p, 0) >= revision for p, revision in wanted.items()):
                break
    rows = await database.pool.fetch(
        "select profile_id::text, product_id, weight from recommend.interactions where weight > 0"
    )
    return {(row[0], row[1]): int(row[2]) for row in rows}


async def test_the_stream_becomes_interactions_and_a_catalog(database: Database) -> None:
    steps = [
        step(ADA, 1, viewed("lamp", name="Lamp", price=3), ("Product Added", 5, {"product_id": "lamp"})),
        step(ADA, 2, ("Signed Up", 6, {}), ordered("o1", "lamp", "desk")),
        step(ADA, 3, ("Product Ordered", 7, {"order_id": "o1", "product_id": "lamp"})),
        step(BOB, 1, viewed("chair")),
    ]
    async with _served(FakeProfile()) as histories, _consuming(database, histories) as log:
        weights = await _follow(database, log, steps)
    products = await SqlProducts(database).some(["lamp", "desk", "chair", "sofa"])

    assert {(ADA, "lamp"): 9, (ADA, "desk"): 5, (BOB, "chair"): 1} == weights
    assert Product("lamp", "Lamp", Price(Decimal(3))) == products["lamp"]
    assert {"lamp", "desk", "chair"} == products.keys()


async def test_a_gap_is_rebuilt_from_profile(database: Database) -> None:
    profile = FakeProfile()
    profile.histories[ADA] = [step(ADA, n, viewed("lamp")) for n in range(1, 6)]
    async with _served(profile) as histories, _consuming(database, histories) as log:
        weights = await _follow(database, log, profile.histories[ADA][3:])

    assert {(ADA, "lamp"): 5} == weights


async def test_a_profile_service_that_does_not_answer_is_asked_again(database: Database) -> None:
    profile = FakeProfile(failures=2)
    profile.histories[ADA] = [step(ADA, n, viewed("lamp")) for n in range(1, 4)]
    async with _served(profile) as histories, _consuming(database, histories) as log:
        weights = await _follow(database, log, profile.histories[ADA][2:])

    assert 0 == profile.failures
    assert {(ADA, "lamp"): 3} == weights
    assert 0 == await database.pool.fetchval(
        "select coalesce(sum(next_offset), 0) from event_log.partitions "
        "join event_log.topics using (topic_id) where name like '%dead_letters'"
    )


@pytest.mark.parametrize("batch_records", [1, 100])
async def test_a_merge_leaves_the_survivor_with_everything(database: Database, batch_records: int) -> None:
    steps = [
        step(ADA, 1, viewed("lamp")),
        step(BOB, 1, viewed("lamp"), viewed("desk")),
        step(ADA, 2, viewed("lamp"), viewed("desk"), moved=True),
        step(BOB, 2, merged_into=ADA),
        step(ADA, 3, viewed("chair")),
    ]
    async with _served(FakeProfile()) as histories, _consuming(database, histories, batch_records) as log:
        weights = await _follow(database, log, steps)

    assert {(ADA, "lamp"): 2, (ADA, "desk"): 1, (ADA, "chair"): 1} == weights
    assert ADA == await database.pool.fetchval(
        "select merged_into::text from recommend.profiles where profile_id = $1", BOB
    )


async def test_a_record_that_is_read_again_changes_nothing(database: Database) -> None:
    async with _served(FakeProfile()) as histories, _consuming(database, histories) as log:
        await _follow(database, log, [step(ADA, 1, viewed("lamp"))])
        weights = await _follow(database, log, [step(ADA, 1, viewed("lamp")), step(ADA, 2, viewed("desk"))])

    assert {(ADA, "lamp"): 1, (ADA, "desk"): 1} == weights


async def test_a_browsers_product_viewed_with_name_price_and_url_changes_nobodys_mails(
    database: Database,
) -> None:
    browser = event_pb2.SOURCE_KIND_BROWSER
    claims = {"name": "Evil", "price": "0,01", "url": "https://evil.example", "category": "Scam"}
    steps = [
        step(ADA, 1, viewed("lamp", name="Lamp", price="1,299.00", currency="EUR")),
        step(BOB, 1, viewed("lamp", 2 * DAY, **claims), source_kind=browser),
        step(BOB, 2, viewed("sofa", 2 * DAY, **claims), source_kind=browser),
    ]
    async with _served(FakeProfile()) as histories, _consuming(database, histories) as log:
        weights = await _follow(database, log, steps)
    products = await SqlProducts(database).some(["lamp", "sofa"])

    assert {"lamp": Product("lamp", "Lamp", Price(Decimal(1299), "EUR"))} == products
    assert {(ADA, "lamp"): 1, (BOB, "lamp"): 1, (BOB, "sofa"): 1} == weights


async def test_a_history_is_trusted_as_the_stream_is(database: Database) -> None:
    profile = FakeProfile()
    profile.histories[ADA] = [
        step(ADA, 1, viewed("lamp", name="Lamp")),
        step(ADA, 2, viewed("lamp", 2 * DAY, name="Evil"), source_kind=event_pb2.SOURCE_KIND_BROWSER),
        step(ADA, 3, viewed("desk", 2 * DAY, name="Evil"), source_kind=event_pb2.SOURCE_KIND_UNSPECIFIED),
    ]
    async with _served(profile) as histories, _consuming(database, histories) as log:
        await _follow(database, log, profile.histories[ADA][2:])

    assert {"lamp": Product("lamp", "Lamp")} == await SqlProducts(database).some(["lamp", "desk"])


@pytest.mark.parametrize("column", ["interactions.state", "profiles.refunded"])
async def test_one_bad_state_costs_itself_alone_and_is_rebuilt(database: Database, column: str) -> None:
    profile = FakeProfile()
    profile.histories[ADA] = [step(ADA, n, viewed("lamp")) for n in (1, 2)]
    table, _, name = column.partition(".")
    async with _served(profile) as histories, _consuming(database, histories) as log:
        await _follow(database, log, [profile.histories[ADA][0], step(BOB, 1, viewed("lamp"))])
        await database.pool.execute(
            f"update recommend.{table} set {name} = '\\xc1' where profile_id = $1", ADA
        )
        weights = await _follow(database, log, [profile.histories[ADA][1], step(BOB, 2, viewed("lamp"))])

    assert {(ADA, "lamp"): 2, (BOB, "lamp"): 2} == weights


@pytest.mark.parametrize("properties", [b'{"product_id":', b"[1]", b"\xff", b'{"product_id": "a\\u0000b"}'])
async def test_an_event_that_cannot_be_read_costs_itself_alone(database: Database, properties: bytes) -> None:
    bad = step(ADA, 1, viewed("lamp"), viewed("desk"))
    bad.events[0].properties_json = properties
    async with _served(FakeProfile()) as histories, _consuming(database, histories) as log:
        weights = await _follow(database, log, [bad, step(BOB, 1, viewed("chair"))])

    assert {(ADA, "desk"): 1, (BOB, "chair"): 1} == weights


async def test_a_history_that_cannot_be_read_sets_its_person_aside_alone(database: Database) -> None:
    profile = FakeProfile()
    profile.histories = {ADA: [step(ADA, n, viewed("lamp")) for n in (1, 2)]}
    profile.histories |= {BOB: [step(BOB, n, viewed("desk")) for n in (1, 2)]}
    profile.unreadable = {ADA}
    async with _served(profile) as histories, _consuming(database, histories) as log:
        async with database.begin() as connection:
            await log.append(connection, PROFILE_UPDATES, records([profile.histories[ADA][1]]))
        weights = await _follow(database, log, [profile.histories[BOB][1]])
        aside = await _until_some(database, "select profile_id::text, attempts from recommend.set_aside")
        profile.unreadable.clear()
        await database.pool.execute("update recommend.set_aside set retry_at = 0")
        # It is its turn, without another word of the stream.
        await _until_some(database, "select 1 from recommend.interactions where profile_id = $1", ADA)

    assert {(BOB, "desk"): 2} == weights
    assert [(ADA, 1)] == aside
    assert 0 == await database.pool.fetchval("select count(*) from recommend.set_aside")


async def _until_some(database: Database, query: str, *values: object) -> list[tuple[Any, ...]]:
    async with asyncio.timeout(30):
        while True:
            if rows := await database.pool.fetch(query, *values):
                return [tuple(row) for row in rows]
