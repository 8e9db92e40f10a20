"""Ranks products by the newest model, an ONNX graph that onnxruntime runs in a thread."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import structlog
from numpy.typing import NDArray

from libs.database import is_transient
from libs.lifecycle import repeat
from libs.observability.metrics import MODEL_VERSION
from services.recommend.domain import Liking, Ranking, Scored
from services.recommend.ports import Models, StoredModel

log = structlog.get_logger(__name__)

# The latest touches say the most; those before would only make the input larger.
_MOST_HISTORY = 200
# People times products that are scored at once: 64 MB of scores.
_MOST_CELLS = 1 << 24
_MICROS_A_DAY = 86_400_000_000

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Model:
    version: int
    session: onnxruntime.InferenceSession
    product_ids: Sequence[str]
    index: dict[str, int]


class OnnxRanker:
    """Serves the newest model, and takes the next one up without a restart: a lifecycle component."""

    def __init__(self, models: Models, poll_seconds: float) -> None:
        self._models = models
        self._poll_seconds = poll_seconds
        self._model: _Model | None = None
        self._looked = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Look for newer models until asked to stop."""
        await repeat(self.refresh, stopping, self._poll_seconds, is_transient)

    async def refresh(self) -> None:
        """Take up the newest model, if there is one that is newer."""
        version = self._model.version if self._model else 0
        stored = await self._models.newer_than(version)
        if stored is not None:
            self._model = await asyncio.to_thread(_load, stored)
            MODEL_VERSION.labels("recommend").set(stored.version)
            log.info("model loaded", version=stored.version, products=len(stored.product_ids))
        self._looked = True

    async def rank(
        self, likings: Sequence[Sequence[Liking]], limit: int, exclude_purchased: bool
    ) -> list[Ranking] | None:
        """One ranking for each person, in order; None while there is no model."""
        if not self._looked:
            # The first call may come before the first look.
            await self.refresh()
        if self._model is None:
            return None
        return await asyncio.to_thread(_rank, self._model, likings, limit, exclude_purchased)


def _load(stored: StoredModel) -> _Model:
    options = onnxruntime.SessionOptions()
    # Calls run side by side already, and a thread each is all that they get.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(stored.graph, options, providers=["CPUExecutionProvider"])
    index = {product_id: number for number, product_id in enumerate(stored.product_ids)}
    return _Model(stored.version, session, stored.product_ids, index)


def _rank(
    model: _Model, likings: Sequence[Sequence[Liking]], limit: int, exclude_purchased: bool
) -> list[Ranking]:
    at_once = max(1, _MOST_CELLS // len(model.index))
    rankings: list[Ranking] = []
    for start in range(0, len(likings), at_once):
        inputs = _inputs(model, likings[start : start + at_once], limit, exclude_purchased)
        columns = [
            array.tolist() for array in model.session.run(["products", "scores", "similarities"], inputs)
        ]
        rankings += (_ranking(model, *rows) for rows in zip(*columns, strict=True))
    return rankings


def _inputs(
    model: _Model, likings: Sequence[Sequence[Liking]], limit: int, exclude_purchased: bool
) -> dict[str, Array]:
    # A product that came after the training is no model's business yet.
    known = [[liking for liking in liked if liking.product_id in model.index] for liked in likings]
    histories = [sorted(liked, key=lambda liking: -liking.last_time)[:_MOST_HISTORY] for liked in known]
    excluded = [
        [model.index[liking.product_id] for liking in liked if liking.purchased and exclude_purchased]
        for liked in known
    ]
    padding = len(model.index)
    return {
        "history": _padded([[model.index[i.product_id] for i in h] for h in histories], padding, np.int64),
        "weights": _padded([[i.weight for i in h] for h in histories], 0, np.float32),
        "ages": _padded(
            [[(h[0].last_time - i.last_time) / _MICROS_A_DAY for i in h] for h in histories], 0, np.float32
        ),
        "excluded": _padded(excluded, padding, np.int64),
        "discovers": np.array([exclude_purchased]),
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
