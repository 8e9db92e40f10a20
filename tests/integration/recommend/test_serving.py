import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from random import Random

import grpc
import pytest

from libs import rpc
from libs.database import Database
from libs.errors import FailedPrecondition
from services.recommend import convert
from services.recommend.grpc_api import RecommendServicer
from services.recommend.handlers import Recommendations, apply_updates
from services.recommend.ranker import OnnxRanker
from services.recommend.repository import SqlModels, SqlPeople, SqlShop
from services.recommend.training.job import train
from tessera.recommend.v1 import recommend_service_pb2 as pb
from tessera.recommend.v1 import recommend_service_pb2_grpc
from tests.integration.recommend.steps import DAY, Event, ordered, step, viewed
from tests.unit.recommend.fakes import MemoryHistories

PEOPLE = 160
STRANGER = "00000000-0000-4000-8000-999999999999"


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _product(shelf: int, number: int) -> str:
    return f"shelf {shelf} product {number}"


async def _open_shop(database: Database) -> None:
    """Everybody buys from one of four shelves, a few times within 200 days."""
    rng = Random(11)
    steps = []
    for person in range(PEOPLE):
        events: list[Event] = []
        for day in sorted(rng.sample(range(1, 200), 8)):
            product = _product(person % 4, int(rng.paretovariate(0.8)) % 12)
            events.append(viewed(product, day * DAY, name=product.title(), price=4.5))
            events.append(ordered(f"order {person} {day}", product, time=day * DAY + 60))
        steps.append(step(_id(person), 1, *events))
    steps.append(step(_id(900), 1, merged_into=_id(0)))
    updates = [convert.update_of(s.SerializeToString()) for s in steps]
    async with database.begin() as connection:
        await apply_updates(SqlPeople(connection), MemoryHistories(), updates)


@asynccontextmanager
async def _serving(
    database: Database,
) -> AsyncIterator["recommend_service_pb2_grpc.RecommendServiceAsyncStub"]:
    """Recommend's API on a port of its own, with a ranker that looks for models all the time."""
    models = SqlModels(database)
    ranker = OnnxRanker(models, 0.01)
    servicer = RecommendServicer(Recommendations(SqlShop(database), ranker, models))
    keys = rpc.ApiKeys({sha256(b"key").hexdigest(): rpc.Caller("test", frozenset({"recommend.read"}))})
    add = recommend_service_pb2_grpc.add_RecommendServiceServicer_to_server
    server = rpc.RpcServer("127.0.0.1:0", [(add, servicer)], api_keys=keys)
    await server.start()
    stopping = asyncio.Event()
    async with rpc.open_channel(server.address, api_key="key") as channel, asyncio.TaskGroup() as group:
        group.create_task(server.run(stopping))
        group.create_task(ranker.run(stopping))
        try:
            yield recommend_service_pb2_grpc.RecommendServiceStub(channel)
        finally:
            stopping.set()


@pytest.fixture
async def stub(database: Database) -> AsyncIterator["recommend_service_pb2_grpc.RecommendServiceAsyncStub"]:
    async with _serving(database) as stub:
        yield stub


def _names(response: pb.RecommendResponse) -> list[str]:
    return [r.product.product_id for r in response.recommendations]


async def test_training_leads_to_recommendations_without_a_restart(
    database: Database, stub: "recommend_service_pb2_grpc.RecommendServiceAsyncStub"
) -> None:
    await _open_shop(database)
    request = pb.RecommendRequest(profile_id=_id(1), limit=5, exclude_purchased=True)
    before = await stub.Recommend(request)
    summary = await train(database)
    versions = [before.model_version]
    async with asyncio.timeout(30):
        while versions[-1] != summary.version:
            response = await stub.Recommend(request)
            versions.append(response.model_version)
    bought = await database.pool.fetch(
        "select product_id from recommend.interactions where profile_id = $1 and purchases > 0", _id(1)
    )

    assert 0 == before.model_version
    assert {"popular"} == {r.reason for r in before.recommendations}
    assert sorted(versions) == versions
    assert response.recommendations[0].product.product_id.startswith("shelf 1")
    assert "similar" == response.recommendations[0].reason
    assert ("Shelf 1", 4.5) == (
        response.recommendations[0].product.name[:7],
        response.recommendations[0].product.price,
    )
    assert not {row[0] for row in bought} & set(_names(response))


async def test_training_beats_popularity_on_the_generated_shop(database: Database) -> None:
    await _open_shop(database)
    summary = await train(database)

    assert PEOPLE == summary.profiles
    assert summary.metrics["recall@20"] > summary.metrics["popularity_recall@20"]
    assert summary.metrics["novel_ndcg@20"] > summary.metrics["popularity_novel_ndcg@20"]


async def test_the_last_twenty_models_are_kept(
    database: Database, stub: "recommend_service_pb2_grpc.RecommendServiceAsyncStub"
) -> None:
    async with database.begin() as connection:
        few = [convert.update_of(step(_id(1), 1, viewed("lamp"), viewed("desk")).SerializeToString())]
        await apply_updates(SqlPeople(connection), MemoryHistories(), few)
    for _ in range(22):
        await train(database)
    listed = await stub.ListModels(pb.ListModelsRequest())

    assert list(range(22, 2, -1)) == [model.version for model in listed.models]
    assert (2, 1, 2) == (listed.models[0].interactions, listed.models[0].profiles, listed.models[0].products)
    assert {} == dict(listed.models[0].metrics)


async def test_nothing_is_learnt_from_nothing(database: Database) -> None:
    with pytest.raises(FailedPrecondition):
        await train(database)


async def test_a_batch_answers_for_each_id_as_asked(
    database: Database, stub: "recommend_service_pb2_grpc.RecommendServiceAsyncStub"
) -> None:
    await _open_shop(database)
    await train(database)
    ids = [_id(0), _id(0).upper(), _id(900), STRANGER]
    alone: dict[str, pb.RecommendResponse] = {}
    async with asyncio.timeout(30):
        while not alone or not all(answer.model_version for answer in alone.values()):
            alone = {i: await stub.Recommend(pb.RecommendRequest(profile_id=i)) for i in ids}
    batch = await stub.BatchRecommend(pb.BatchRecommendRequest(profile_ids=ids))

    assert alone == dict(batch.results)
    assert 10 == len(_names(batch.results[STRANGER]))
    assert {"popular"} == {r.reason for r in batch.results[STRANGER].recommendations}
    assert batch.results[_id(0)] == batch.results[_id(900)]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.RecommendRequest(), "profile_id"),
        (pb.RecommendRequest(profile_id="ada"), "profile_id"),
        (pb.RecommendRequest(profile_id=STRANGER, limit=-1), "limit"),
        (pb.BatchRecommendRequest(), "profile_ids"),
        (pb.BatchRecommendRequest(profile_ids=[_id(n) for n in range(501)]), "profile_ids"),
        (pb.BatchRecommendRequest(profile_ids=["ada"]), "profile_ids[0]"),
    ],
)
async def test_a_wrong_request_names_its_field(
    stub: "recommend_service_pb2_grpc.RecommendServiceAsyncStub",
    request_: pb.RecommendRequest | pb.BatchRecommendRequest,
    field: str,
) -> None:
    method = stub.Recommend if isinstance(request_, pb.RecommendRequest) else stub.BatchRecommend
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(request_)  # type: ignore[arg-type]

    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
    assert (caught.value.details() or "").startswith(f"{field}: ")


async def test_a_limit_above_a_hundred_counts_as_a_hundred(
    database: Database, stub: "recommend_service_pb2_grpc.RecommendServiceAsyncStub"
) -> None:
    async with database.begin() as connection:
        events = [viewed(f"product {number}") for number in range(150)]
        updates = [convert.update_of(step(_id(1), 1, *events).SerializeToString())]
        await apply_updates(SqlPeople(connection), MemoryHistories(), updates)
    response = await stub.Recommend(pb.RecommendRequest(profile_id=STRANGER, limit=1000))

    assert 100 == len(response.recommendations)


async def test_a_shop_where_nothing_happened_recommends_nothing(
    stub: "recommend_service_pb2_grpc.RecommendServiceAsyncStub",
) -> None:
    response = await stub.Recommend(pb.RecommendRequest(profile_id=STRANGER))

    assert pb.RecommendResponse() == response
