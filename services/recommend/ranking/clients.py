"""Asks onnxruntime, which runs the newest model's graph in a thread."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import structlog
from numpy.typing import NDArray

from libs.observability.metrics import MODEL_VERSION
from services.recommend.ranking.model import Ranking, Scored, Taste
from services.recommend.ranking.ports import Models
from services.recommend.registry.model import INPUTS, OUTPUTS, StoredModel

log = structlog.get_logger(__name__)

# The latest touches say the most; those before would only make the input larger.
_MOST_HISTORY: Final = 200
# People times products that are scored at once: 64 MB of scores.
_MOST_CELLS: Final = 1 << 24
_MICROS_A_DAY: Final = 86_400_000_000

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Model:
    version: int
    session: onnxruntime.InferenceSession
    product_ids: Sequence[str]
    index: dict[str, int]


class OnnxRanker:
    """Serves the newest model."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._model: _Model | None = None
        self._looked = False
        self._looking = asyncio.Lock()
        self._refused: set[int] = set()

    async def refresh(self) -> None:
        """Take up the newest model, if there is one that is newer; one at a time, so that each loads once.

        A model that can't be loaded is told and left out: what serves until then goes on, or what is next.
        """
        async with self._looking:
            await self._look()

    async def rank(self, tastes: Sequence[Taste], limit: int, discovers: bool) -> list[Ranking] | None:
        """One ranking for each taste, in order; None while there is no model."""
        if not self._looked:
            # The first calls may come before the first look: one of them looks, the others wait for it.
            async with self._looking:
                if not self._looked:
                    await self._look()
        if self._model is None:
            return None
        return await asyncio.to_thread(_rank, self._model, tastes, limit, discovers)

    async def _look(self) -> None:
        version = self._model.version if self._model else 0
        while (stored := await self._models.newer_than(version, self._refused)) is not None:
            try:
                self._model = await asyncio.to_thread(_load, stored)
            except Exception as error:
                # onnxruntime's errors have no common base; what it can't read now it can't read later.
                self._refused.add(stored.version)
                log.error("model refused", version=stored.version, error=repr(error))
                continue
            MODEL_VERSION.labels("recommend").set(stored.version)
            log.info("model loaded", version=stored.version, products=len(stored.product_ids))
            break
        self._looked = True


def _load(stored: StoredModel) -> _Model:
    options = onnxruntime.SessionOptions()
    # Calls run side by side already, and a thread each is all that they get.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(stored.graph, options, providers=["CPUExecutionProvider"])
    given = {one.name for one in session.get_inputs()}, {one.name for one in session.get_outputs()}
    if given != (set(INPUTS), set(OUTPUTS)):
        raise ValueError(f"a graph of another kind: {given}")
    index = {product_id: number for number, product_id in enumerate(stored.product_ids)}
    model = _Model(stored.version, session, stored.product_ids, index)
    # A graph that fits its products answers a newcomer.
    _rank(model, [Taste((), ())], len(index), discovers=False)
    return model


def _rank(model: _Model, tastes: Sequence[Taste], limit: int, discovers: bool) -> list[Ranking]:
    at_once = max(1, _MOST_CELLS // len(model.index))
    rankings: list[Ranking] = []
    for start in range(0, len(tastes), at_once):
        inputs = _inputs(model, tastes[start : start + at_once], limit, discovers)
        columns = [array.tolist() for array in model.session.run(list(OUTPUTS), inputs)]
        rankings += (_ranking(model, *rows) for rows in zip(*columns, strict=True))
    return rankings


def _inputs(model: _Model, tastes: Sequence[Taste], limit: int, discovers: bool) -> dict[str, Array]:
    # A product that came after the training is no model's business yet.
    known = [[liking for liking in taste.liked if liking.product_id in model.index] for taste in tastes]
    histories = [sorted(liked, key=lambda liking: -liking.last_time)[:_MOST_HISTORY] for liked in known]
    excluded = [
        [model.index[product_id] for product_id in taste.excluded if product_id in model.index]
        for taste in tastes
    ]
    padding = len(model.index)
    return {
        "history": _padded([[model.index[i.product_id] for i in h] for h in histories], padding, np.int64),
        "weights": _padded([[i.weight for i in h] for h in histories], 0, np.float32),
        "ages": _padded(
            [[(h[0].last_time - i.last_time) / _MICROS_A_DAY for i in h] for h in histories], 0, np.float32
        ),
        "excluded": _padded(excluded, padding, np.int64),
        "discovers": np.array([discovers]),
        "limit": np.array([min(limit, padding)], np.int64),
    }


def _padded(rows: Sequence[Sequence[float]], padding: float, dtype: type[Any]) -> Array:
    """Rows of one length, of one column at the least."""
    padded = np.full((len(rows), max(1, *map(len, rows))), padding, dtype)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


def _ranking(
    model: _Model, products: Sequence[int], scores: Sequence[float], similarities: Sequence[float]
) -> Ranking:
    scored = [
        Scored(model.product_ids[product], score, similarity > 0)
        for product, score, similarity in zip(products, scores, similarities, strict=True)
        # What is left out has a score of minus infinity.
        if score > float("-inf")
    ]
    return Ranking(scored, model.version)
