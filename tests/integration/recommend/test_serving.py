import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Any

import grpc
import pytest

from libs import rpc
from libs.database import Database
from libs.errors import FailedPrecondition
from libs.money import amount_of
from libs.rpc.server import Service
from services.recommend.catalog.api import CatalogServicer
from services.recommend.catalog.sql import SqlProducts
from services.recommend.catalog.use_cases import Catalog
from services.recommend.catalog.wire import product_pb
from services.recommend.interactions.sql import SqlInteractions
from services.recommend.ranking.api import RecommendServicer
from services.recommend.ranking.clients import OnnxRanker
from services.recommend.ranking.jobs import ModelRefresh
from services.recommend.ranking.use_cases import Recommendations
from services.recommend.registry.api import ModelServicer
from services.recommend.registry.model import ModelInfo
from services.recommend.registry.sql import SqlModels
from services.recommend.registry.use_cases import Registry
from services.recommend.training.use_cases import Training
from services.recommend.training.wire import export
from tessera.ingest.v1 import event_pb2
from tessera.recommend.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    recommend_service_pb2_grpc,
    recommendation_pb2,
)
from tessera.recommend.v1 import recommend_service_pb2 as pb
from tests.integration.recommend.steps import DAY, Event, apply, ordered, step, viewed

PEOPLE = 160
STRANGER = "00000000-0000-4000-8000-999999999999"
POPULAR = recommendation_pb2.RECOMMENDATION_REASON_POPULAR
SIMILAR = recommendation_pb2.RECOMMENDATION_REASON_SIMILAR


class Silent:
    """Nobody wants to know how far a training is."""

    async def advance(self, done: int, total: int, detail: str) -> None:
        assert 0 <= done <= total


async def train(database: Database) -> ModelInfo:
    training = Training(SqlInteractions(database), SqlProducts(database), SqlModels(database), export)
    return (await training.run(Silent()))[0]


@dataclass(frozen=True)
class Stubs:
    """Recommend's services."""

    recommend: "recommend_service_pb2_grpc.RecommendServiceAsyncStub"
    catalog: "catalog_service_pb2_grpc.CatalogServiceAsyncStub"
    models: "model_service_pb2_grpc.ModelServiceAsyncStub"


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
            events.append(ordered(f"order {person} {day}", product, at=day * DAY + 60))
        steps.append(step(_id(person), 1, *events))
    steps.append(step(_id(900), 1, merged_into=_id(0)))
    await apply(database, *steps)


@asynccontextmanager
async def _serving(database: Database) -> AsyncIterator[Stubs]:
    """Recommend's API on a port of its own, with a ranker that looks for models all the time."""
    models = SqlModels(database)
    ranker = OnnxRanker(models)
    catalog = Catalog(SqlProducts(database))
    recommendations = Recommendations(SqlInteractions(database), catalog, ranker)
    keys = rpc.ApiKeys({sha256(b"key").hexdigest(): rpc.Caller("test", frozenset({"recommend.read"}))})
    services: list[Service] = [
        (
            recommend_service_pb2_grpc.add_RecommendServiceServicer_to_server,
            RecommendServicer(recommendations, product_pb),
        ),
        (catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server, CatalogServicer(catalog)),
        (model_service_pb2_grpc.add_ModelServiceServicer_to_server, ModelServicer(Registry(models))),
    ]
    server = rpc.RpcServer("127.0.0.1:0", services, api_keys=keys)
    await server.start()
    stopping = asyncio.Event()
    async with rpc.open_channel(server.address, api_key="key") as channel, asyncio.TaskGroup() as group:
        group.create_task(server.run(stopping))
        group.create_task(ModelRefresh(ranker, 0.01).run(stopping))
        try:
            yield Stubs(
                recommend_service_pb2_grpc.RecommendServiceStub(channel),
                catalog_service_pb2_grpc.CatalogServiceStub(channel),
                model_service_pb2_grpc.ModelServiceStub(channel),
            )
        finally:
            stopping.set()


@pytest.fixture
async def stubs(database: Database) -> AsyncIterator[Stubs]:
    async with _serving(database) as stubs:
        yield stubs


def _names(response: pb.RecommendResponse) -> list[str]:
    return [r.product.product_id for r in response.recommendations]


async def test_training_leads_to_recommendations_without_a_restart(database: Database, stubs: Stubs) -> None:
    await _open_shop(database)
    request = pb.RecommendRequest(profile_id=_id(1), limit=5, exclude_purchased=True)
    before = await stubs.recommend.Recommend(request)
    trained = await train(database)
    versions = [before.model_version]
    async with asyncio.timeout(30):
        while versions[-1] != trained.version:
            response = await stubs.recommend.Recommend(request)
            versions.append(response.model_version)
    bought = await database.pool.fetch(
        "select product_id from recommend.interactions where profile_id = $1 and purchases > 0", _id(1)
    )

    assert 0 == before.model_version
    assert {POPULAR} == {r.reason for r in before.recommendations}
    assert sorted(versions) == versions
    first = response.recommendations[0]
    assert first.product.product_id.startswith("shelf 1")
    assert (SIMILAR, "Shelf 1") == (first.reason, first.product.name[:7])
    assert Decimal("4.5") == amount_of(first.product.price)
    assert not {row[0] for row in bought} & set(_names(response))


async def test_training_beats_popularity_on_the_generated_shop(database: Database) -> None:
    await _open_shop(database)
    trained = await train(database)

    assert PEOPLE == trained.profiles
    assert trained.metrics["recall@20"] > trained.metrics["popularity_recall@20"]
    assert trained.metrics["novel_ndcg@20"] > trained.metrics["popularity_novel_ndcg@20"]


async def test_the_last_twenty_models_are_kept(database: Database, stubs: Stubs) -> None:
    await apply(database, step(_id(1), 1, viewed("lamp"), viewed("desk")))
    for _ in range(22):
        await train(database)
    listed = await stubs.models.ListModels(model_service_pb2.ListModelsRequest())

    assert list(range(22, 2, -1)) == [model.version for model in listed.models]
    assert "" == listed.next_page_token
    newest = listed.models[0]
    assert (2, 1, 2) == (newest.interactions, newest.profiles, newest.products)
    assert {} == dict(newest.metrics)


async def test_nothing_is_learnt_from_nothing(database: Database) -> None:
    with pytest.raises(FailedPrecondition):
        await train(database)


async def test_a_batch_answers_for_each_request_in_their_order(database: Database, stubs: Stubs) -> None:
    await _open_shop(database)
    await train(database)
    ids = [_id(0), _id(0).upper(), _id(900), STRANGER]
    alone: list[pb.RecommendResponse] = []
    async with asyncio.timeout(30):
        while not alone or not all(answer.model_version for answer in alone):
            alone = [await stubs.recommend.Recommend(pb.RecommendRequest(profile_id=i)) for i in ids]
    requests = [pb.RecommendRequest(profile_id=i) for i in ids]
    batch = await stubs.recommend.BatchRecommend(pb.BatchRecommendRequest(requests=requests))

    assert alone == list(batch.responses)
    assert 10 == len(_names(batch.responses[3]))
    assert {POPULAR} == {r.reason for r in batch.responses[3].recommendations}
    assert batch.responses[0] == batch.responses[2]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.RecommendRequest(), "profile_id"),
        (pb.RecommendRequest(profile_id="ada"), "profile_id"),
        (pb.RecommendRequest(profile_id=STRANGER, limit=-1), "limit"),
        (pb.RecommendRequest(profile_id=STRANGER, exclude_product_ids=["x"] * 501), "exclude_product_ids"),
        (pb.BatchRecommendRequest(), "requests"),
        (pb.BatchRecommendRequest(requests=[pb.RecommendRequest()] * 501), "requests"),
        (
            pb.BatchRecommendRequest(requests=[pb.RecommendRequest(profile_id="ada")]),
            "requests[0].profile_id",
        ),
    ],
)
async def test_a_wrong_request_names_its_field(
    stubs: Stubs, request_: pb.RecommendRequest | pb.BatchRecommendRequest, field: str
) -> None:
    single = isinstance(request_, pb.RecommendRequest)
    method: Any = stubs.recommend.Recommend if single else stubs.recommend.BatchRecommend
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(request_)

    assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()
    assert (caught.value.details() or "").startswith(f"{field}: ")


async def test_a_limit_above_a_hundred_counts_as_a_hundred(database: Database, stubs: Stubs) -> None:
    await apply(database, step(_id(1), 1, *(viewed(f"product {number}") for number in range(150))))
    response = await stubs.recommend.Recommend(pb.RecommendRequest(profile_id=STRANGER, limit=1000))

    assert 100 == len(response.recommendations)


async def test_a_shop_where_nothing_happened_recommends_nothing(stubs: Stubs) -> None:
    response = await stubs.recommend.Recommend(pb.RecommendRequest(profile_id=STRANGER))

    assert pb.RecommendResponse() == response


async def test_a_product_without_price_or_url_stays_without(database: Database, stubs: Stubs) -> None:
    bare, priced = viewed("bare"), viewed("priced", price="0.50", currency="EUR", url="javascript:alert(1)")
    await apply(database, step(_id(1), 1, bare, priced))
    response = await stubs.recommend.Recommend(pb.RecommendRequest(profile_id=STRANGER))
    products = {one.product.product_id: one.product for one in response.recommendations}

    assert ["product_id"] == [field.name for field, _ in products["bare"].ListFields()]
    assert ["product_id", "price"] == [field.name for field, _ in products["priced"].ListFields()]
    price = products["priced"].price
    assert ("EUR", 0, 500_000_000) == (price.currency_code, price.units, price.nanos)


async def test_what_only_browsers_have_named_is_recommended_to_nobody_and_not_learnt(
    database: Database, stubs: Stubs
) -> None:
    browser = event_pb2.SOURCE_KIND_BROWSER
    stuffing = [viewed("scam", name="Scam") for _ in range(50)]
    await apply(
        database,
        step(_id(1), 1, viewed("lamp")),
        step(_id(2), 1, *stuffing, viewed("lamp"), source_kind=browser),
    )
    before = await stubs.recommend.Recommend(pb.RecommendRequest(profile_id=STRANGER))
    trained = await train(database)

    assert ["lamp"] == _names(before)
    assert (1, 2) == (trained.products, trained.interactions)


async def test_the_cart_and_what_the_mail_is_about_are_left_out(database: Database, stubs: Stubs) -> None:
    now = int(time.time())
    add = "Product Added", now - 60, {"product_id": "spray"}
    checkout = "Checkout Started", now - 50, {"products": [{"product_id": "soap"}]}
    taken_out: list[Event] = [
        ("Product Added", now - 40, {"product_id": "towel"}),
        ("Product Removed", now - 30, {"product_id": "towel"}),
    ]
    others = [viewed(product_id, now) for product_id in ("spray", "soap", "towel", "lamp", "desk")]
    await apply(database, step(_id(1), 1, add, checkout, *taken_out), step(_id(2), 1, *others))
    request = pb.RecommendRequest(profile_id=_id(1), exclude_in_cart=True, exclude_product_ids=["lamp"])
    response = await stubs.recommend.Recommend(request)

    assert {"towel", "desk"} == set(_names(response))


async def test_what_was_bought_lies_in_no_cart_any_more(database: Database, stubs: Stubs) -> None:
    now = int(time.time())
    added = "Product Added", now - 60, {"product_id": "spray"}
    await apply(database, step(_id(1), 1, added, ordered("o1", "spray", at=now - 50)))
    response = await stubs.recommend.Recommend(pb.RecommendRequest(profile_id=_id(1), exclude_in_cart=True))

    assert ["spray"] == _names(response)


async def test_products_are_listed_page_by_page_in_the_order_of_bytes(
    database: Database, stubs: Stubs
) -> None:
    ids = ["B", "a", "b", "ä", "z", "10", "9"]
    await apply(database, step(_id(1), 1, *(viewed(i, name=f"Name of {i}") for i in ids)))
    listed: list[str] = []
    token = ""
    while True:
        request = catalog_service_pb2.ListProductsRequest(page_size=3, page_token=token)
        page = await stubs.catalog.ListProducts(request)
        listed += [product.product_id for product in page.products]
        token = page.next_page_token
        if not token:
            break
    one = await stubs.catalog.GetProduct(catalog_service_pb2.GetProductRequest(product_id="ä"))

    assert sorted(ids, key=str.encode) == listed
    assert "Name of ä" == one.product.name


async def test_models_are_listed_page_by_page_and_found_by_version(database: Database, stubs: Stubs) -> None:
    await apply(database, step(_id(1), 1, viewed("lamp")))
    trained = [await train(database) for _ in range(3)]
    first = await stubs.models.ListModels(model_service_pb2.ListModelsRequest(page_size=2))
    rest = await stubs.models.ListModels(
        model_service_pb2.ListModelsRequest(page_size=2, page_token=first.next_page_token)
    )
    one = await stubs.models.GetModel(model_service_pb2.GetModelRequest(version=2))

    assert [[3, 2], [1]] == [[model.version for model in page.models] for page in (first, rest)]
    assert "" == rest.next_page_token
    assert trained[1].create_time == one.model.create_time.ToMicroseconds()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda s: s.catalog.GetProduct(catalog_service_pb2.GetProductRequest(product_id="x")), "NOT_FOUND"),
        (lambda s: s.catalog.GetProduct(catalog_service_pb2.GetProductRequest()), "INVALID_ARGUMENT"),
        (
            lambda s: s.catalog.ListProducts(catalog_service_pb2.ListProductsRequest(page_size=-1)),
            "INVALID_ARGUMENT",
        ),
        (
            lambda s: s.models.ListModels(model_service_pb2.ListModelsRequest(page_token="x")),
            "INVALID_ARGUMENT",
        ),
        (lambda s: s.models.GetModel(model_service_pb2.GetModelRequest(version=9)), "NOT_FOUND"),
        (lambda s: s.models.GetModel(model_service_pb2.GetModelRequest()), "INVALID_ARGUMENT"),
    ],
)
async def test_what_is_not_there_or_not_asked_well_says_so(stubs: Stubs, call: Any, code: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(stubs)

    assert code == caught.value.code().name
