import asyncio
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import onnx
import pytest

from services.recommend.interactions.model import Interest, Liking
from services.recommend.ranking.clients import OnnxRanker
from services.recommend.ranking.jobs import ModelRefresh
from services.recommend.ranking.model import Question, Ranking, Taste, taste_of
from services.recommend.registry.model import StoredModel
from services.recommend.training.model.data import Touches, gather
from services.recommend.training.model.neighbours import PERSON_HALF_LIFE, Blend, Fitted, fit
from services.recommend.training.wire import export
from tests.unit.recommend.fakes import MemoryModels

DAY = 86_400_000_000
PRODUCTS = 40


@pytest.fixture(scope="module")
def touches() -> Touches:
    rng = np.random.default_rng(7)
    return gather(
        (
            f"person {person}",
            f"product {product}",
            Interest(
                views=int(rng.integers(0, 4)),
                first=DAY,
                last=DAY,
                orders={"o": int(rng.integers(1, 60)) * DAY},
            ),
        )
        for person in range(60)
        for product in rng.choice(PRODUCTS, 6, replace=False)
    )


@pytest.fixture(scope="module")
def model(touches: Touches) -> Fitted:
    return fit(touches, 61.0, Blend(neighbours=5))


def _ranker(model: Fitted, touches: Touches, version: int = 1) -> OnnxRanker:
    return OnnxRanker(MemoryModels([StoredModel(version, export(model), touches.product_ids)]))


NEWCOMER = Taste((), ())


def _taste(liked: list[Liking], exclude: bool) -> Taste:
    return taste_of(Question("", exclude_purchased=exclude), liked, 0)


def _likings(touches: Touches, seed: int, count: int) -> list[Liking]:
    rng = np.random.default_rng(seed)
    return [
        Liking(
            touches.product_ids[i],
            float(rng.integers(1, 30)),
            int(rng.integers(1, 200)) * DAY,
            bool(rng.integers(2)),
        )
        for i in rng.choice(len(touches.product_ids), count, replace=False)
    ]


def _reference(
    model: Fitted, touches: Touches, liked: list[Liking], exclude: bool
) -> list[tuple[str, float, bool]]:
    """What the graph is to compute, in numpy."""
    index = {product_id: i for i, product_id in enumerate(touches.product_ids)}
    similar = np.zeros(len(index))
    if liked:
        latest = max(liking.last_time for liking in liked)
        ages = np.array([(latest - liking.last_time) / DAY for liking in liked])
        shares = np.sqrt([liking.weight for liking in liked]) * 0.5 ** (ages / PERSON_HALF_LIFE)
        for liking, share in zip(liked, shares / shares.sum(), strict=True):
            similar += share * model.matrix.toarray()[index[liking.product_id]]
            similar[index[liking.product_id]] += share * model.blend.own
    scores = similar + (model.blend.discovery if exclude else model.blend.popularity) * model.popularity
    for liking in liked:
        if exclude and liking.purchased:
            scores[index[liking.product_id]] = -np.inf
    best = [i for i in np.argsort(-scores, kind="stable") if scores[i] > -np.inf]
    return [(touches.product_ids[i], float(scores[i]), bool(similar[i] > 0)) for i in best]


def _same(expected: list[tuple[str, float, bool]], ranking: Ranking) -> None:
    scores = [score for _, score, _ in expected]
    by_product = {product_id: (score, similar) for product_id, score, similar in expected}
    assert scores == pytest.approx([scored.score for scored in ranking.scored], rel=1e-4)
    for scored in ranking.scored:
        score, similar = by_product[scored.product_id]
        assert pytest.approx(score, rel=1e-4) == scored.score
        assert similar == scored.similar


@pytest.mark.parametrize("exclude", [False, True])
async def test_the_graph_computes_what_numpy_does(model: Fitted, touches: Touches, exclude: bool) -> None:
    people = [_likings(touches, seed, count) for seed, count in enumerate((0, 1, 3, 17, PRODUCTS))]
    rankings = await _ranker(model, touches).rank(
        [_taste(liked, exclude) for liked in people], PRODUCTS, exclude
    )

    assert rankings is not None
    for liked, ranking in zip(people, rankings, strict=True):
        _same(_reference(model, touches, liked, exclude), ranking)


async def test_a_batch_ranks_as_each_alone(model: Fitted, touches: Touches) -> None:
    people = [_taste(_likings(touches, seed, seed), True) for seed in range(1, 9)]
    ranker = _ranker(model, touches)
    together = await ranker.rank(people, 10, True)
    alone = [await ranker.rank([taste], 10, True) for taste in people]

    assert together is not None
    assert [[s.product_id for s in r.scored] for r in together] == [
        [s.product_id for s in r[0].scored] for r in alone if r
    ]


async def test_a_newcomer_gets_what_is_popular(model: Fitted, touches: Touches) -> None:
    rankings = await _ranker(model, touches).rank([NEWCOMER], 3, False)
    best = [touches.product_ids[i] for i in np.argsort(-model.popularity, kind="stable")[:3]]

    assert rankings is not None
    assert best == [scored.product_id for scored in rankings[0].scored]
    assert {False} == {scored.similar for scored in rankings[0].scored}


async def test_products_that_came_after_the_training_are_ignored(model: Fitted, touches: Touches) -> None:
    ranker = _ranker(model, touches)
    known = Liking("product 3", 5, DAY, purchased=False)
    unknown = Liking("new", 5, 2 * DAY, purchased=True)

    assert await ranker.rank([_taste([known], True)], 5, True) == await ranker.rank(
        [_taste([known, unknown], True)], 5, True
    )


async def test_no_more_is_recommended_than_there_is(model: Fitted, touches: Touches) -> None:
    rankings = await _ranker(model, touches).rank([NEWCOMER], 100, False)

    assert rankings is not None
    assert len(touches.product_ids) == len(rankings[0].scored)


async def test_a_newer_model_is_taken_up_while_calls_go_on(model: Fitted, touches: Touches) -> None:
    models = MemoryModels()
    ranker = OnnxRanker(models)
    stopping = asyncio.Event()
    running = asyncio.create_task(ModelRefresh(ranker, 0.001).run(stopping))
    versions: list[int] = []
    async with asyncio.timeout(20):
        while versions[-1:] != [2]:
            await asyncio.sleep(0)  # without a model a call never waits
            rankings = await ranker.rank([NEWCOMER], 1, False)
            version = rankings[0].model_version if rankings else 0
            if versions[-1:] != [version]:
                versions.append(version)
                blend = replace(model.blend, own=float(version))
                models.stored.append(
                    StoredModel(version + 1, export(replace(model, blend=blend)), touches.product_ids)
                )
    stopping.set()
    await running

    assert [0, 1, 2] == versions


async def test_two_first_requests_load_the_model_once(model: Fitted, touches: Touches) -> None:
    models = MemoryModels([StoredModel(1, export(model), touches.product_ids)])
    ranker = OnnxRanker(models)
    answers = await asyncio.gather(*(ranker.rank([NEWCOMER], 1, False) for _ in range(5)), ranker.refresh())

    assert 1 == models.read
    assert [1] * 5 == [rankings[0].model_version for rankings in answers[:5] if rankings]


async def test_a_first_request_that_fails_lets_the_next_one_look_again(
    model: Fitted, touches: Touches
) -> None:
    class Failing(MemoryModels):
        async def newer_than(self, version: int, but: Collection[int]) -> StoredModel | None:
            self.read += 1
            if self.read == 1:
                raise ConnectionResetError
            return await super().newer_than(version, but)

    ranker = OnnxRanker(Failing([StoredModel(1, export(model), touches.product_ids)]))
    with pytest.raises(ConnectionResetError):
        await ranker.rank([NEWCOMER], 1, False)
    rankings = await ranker.rank([NEWCOMER], 1, False)

    assert rankings is not None
    assert 1 == rankings[0].model_version


def _renamed_input(graph: bytes) -> bytes:
    proto = onnx.load_from_string(graph)
    for node in proto.graph.node:
        node.input[:] = ["taste" if name == "history" else name for name in node.input]
    next(one for one in proto.graph.input if one.name == "history").name = "taste"
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("fault", ["no graph", "cut off", "a later version's graph", "other products"])
async def test_a_model_that_cannot_be_served_costs_itself_alone(
    model: Fitted, touches: Touches, fault: str
) -> None:
    good = export(model)
    bad = {
        "no graph": StoredModel(2, b"", touches.product_ids),
        "cut off": StoredModel(2, good[: len(good) // 2], touches.product_ids),
        "a later version's graph": StoredModel(2, _renamed_input(good), touches.product_ids),
        "other products": StoredModel(2, good, [*touches.product_ids, "one more"]),
    }[fault]
    models = MemoryModels([StoredModel(1, good, touches.product_ids), bad])
    ranker = OnnxRanker(models)
    first = await ranker.rank([NEWCOMER], 3, False)
    models.stored.append(StoredModel(3, good, touches.product_ids))
    await ranker.refresh()
    second = await ranker.rank([NEWCOMER], 3, False)

    assert first is not None
    assert second is not None
    assert [1, 3] == [first[0].model_version, second[0].model_version]
