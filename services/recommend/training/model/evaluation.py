"""Judges a model on what people bought later than anything that it was trained on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]

from services.recommend.training.model.data import Array, Touches, pairs_of
from services.recommend.training.model.neighbours import Blend, Fitted, fit, histories

AT = 20
WINDOW_DAYS = 30.0
# Fewer people make figures that say nothing; more only take time.
LEAST_JUDGED = 50
_MOST_JUDGED = 5000
_PEOPLE_AT_ONCE = 500

_NEIGHBOURS = (20, 50)
_OWN = (0.1, 0.5, 2.0, 5.0)
_POPULARITY = (0.01, 0.02, 0.04, 0.08)
_DISCOVERY = (0.002, 0.005, 0.01, 0.02)

_GAINS = 1 / np.log2(np.arange(2, AT + 2))

TRIALS = len(_NEIGHBOURS) * len(_OWN)
"""How often choosing a blend tells that it goes on."""
Tell = Callable[[], None]


def _silently() -> None:
    """Nobody wants to know how far it is."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over people."""

    recall: float
    ndcg: float
    people: int


class Judge:
    """Holds what people touched before a cutoff, and what they got afterwards."""

    def __init__(self, touches: Touches, cutoff: float, end: float) -> None:
        self.before = touches.where(touches.days < cutoff)
        count = len(touches.product_ids)
        known = np.zeros(count, np.bool_)
        known[self.before.products] = True
        after = touches.where((touches.days >= cutoff) & (touches.days < end) & known[touches.products])
        if after.bought.any():
            # What is viewed is a means; what is bought is the aim, where the shop tells of it.
            after = after.where(after.bought)
        people = np.intersect1d(after.people, self.before.people)
        if len(people) > _MOST_JUDGED:
            people = np.sort(np.random.default_rng(0).choice(people, _MOST_JUDGED, replace=False))
        self.people = people
        pairs = pairs_of(self.before)
        self._histories = histories(pairs, people, count)
        self._wanted = _sets(after.people, after.products, people, count)
        self._had = _sets(pairs.people[pairs.bought], pairs.products[pairs.bought], people, count)

    def figures(self, model: Fitted, novel: bool) -> Figures:
        """Recall and NDCG of the model's first twenty; `novel` leaves out what was bought before."""
        blend = model.blend
        similar = self._histories @ model.matrix + blend.own * self._histories
        share = blend.discovery if novel else blend.popularity
        return self._judge(lambda rows: similar[rows].toarray() + share * model.popularity, novel)

    def popularity_figures(self, model: Fitted, novel: bool) -> Figures:
        """The same for popularity alone."""
        return self._judge(lambda rows: np.tile(model.popularity, (len(rows), 1)), novel)

    def _judge(self, scores_of: Callable[[Array], Array], novel: bool) -> Figures:
        recalls: list[Array] = []
        ndcgs: list[Array] = []
        for start in range(0, len(self.people), _PEOPLE_AT_ONCE):
            rows = np.arange(start, min(start + _PEOPLE_AT_ONCE, len(self.people)))
            scores, wanted = scores_of(rows), self._wanted[rows].toarray() > 0
            if novel:
                had = self._had[rows].toarray() > 0
                scores[had] = -np.inf
                wanted &= ~had
            asked = wanted.any(axis=1)
            recall, ndcg = _figures_of(scores[asked], wanted[asked])
            recalls.append(recall)
            ndcgs.append(ndcg)
        recall, ndcg = np.concatenate(recalls), np.concatenate(ndcgs)
        if not len(recall):
            return Figures(0.0, 0.0, 0)
        return Figures(float(recall.mean()), float(ndcg.mean()), len(recall))


def _figures_of(scores: Array, wanted: Array) -> tuple[Array, Array]:
    """Recall and NDCG of each row; among equal scores the first product comes first, as in the graph."""
    best = np.sort(np.argpartition(-scores, min(AT, scores.shape[1]) - 1, axis=1)[:, :AT], axis=1)
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    hits = np.take_along_axis(wanted, best, axis=1)
    counts = wanted.sum(axis=1)
    ideal = np.cumsum(_GAINS)[np.minimum(counts, AT) - 1]
    return hits.sum(axis=1) / counts, (hits * _GAINS[: hits.shape[1]]).sum(axis=1) / ideal


def _sets(people: Array, products: Array, wanted: Array, count: int) -> sparse.csr_matrix:
    """The products of each wanted person, as ones."""
    chosen = np.isin(people, wanted)
    rows = np.searchsorted(wanted, people[chosen])
    ones = np.ones(len(rows), np.int8)
    matrix = sparse.csr_matrix((ones, (rows, products[chosen])), shape=(len(wanted), count))
    matrix.data[:] = 1
    return matrix


def choose(judge: Judge, cutoff: float, tell: Tell = _silently) -> Blend:
    """The blend that does best on what came after the cutoff, from what came before it."""
    best, blend = -1.0, Blend()
    for neighbours in _NEIGHBOURS:
        base = fit(judge.before, cutoff, Blend(neighbours))
        for own in _OWN:
            tell()
            value_all, popularity = max(
                (_value(judge, base, Blend(neighbours, own, popularity=share), novel=False), share)
                for share in _POPULARITY
            )
            value_novel, discovery = max(
                (_value(judge, base, Blend(neighbours, own, discovery=share), novel=True), share)
                for share in _DISCOVERY
            )
            if value_all + value_novel > best:
                best, blend = value_all + value_novel, Blend(neighbours, own, popularity, discovery)
    return blend


def _value(judge: Judge, base: Fitted, blend: Blend, novel: bool) -> float:
    figures = judge.figures(replace(base, blend=blend), novel)
    return figures.recall + figures.ndcg


def window_of(touches: Touches) -> float:
    """How many days the judged future has: a month, or a quarter of a short history."""
    span = float(np.ptp(touches.days)) if len(touches.days) else 0.0
    return min(WINDOW_DAYS, span / 4)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a model that knew nothing of the time after a cutoff."""

    blend: Blend
    """Chosen on the window before the cutoff."""
    everything: Figures
    novel: Figures
    popularity: Figures
    popularity_novel: Figures

    @property
    def metrics(self) -> dict[str, float]:
        """As they are kept with the model."""
        return {
            f"{prefix}{name}@{AT}": round(getattr(figures, name), 6)
            for prefix, figures in (
                ("", self.everything),
                ("novel_", self.novel),
                ("popularity_", self.popularity),
                ("popularity_novel_", self.popularity_novel),
            )
            for name in ("recall", "ndcg")
        } | {"people": self.everything.people, "novel_people": self.novel.people}


def evaluate(
    touches: Touches, cutoff: float, end: float, window: float, tell: Tell = _silently
) -> Report | None:
    """Choose on the window before the cutoff, train on all before it, judge on what follows.

    None where too few people can be judged.
    """
    judge = Judge(touches, cutoff, end)
    if len(judge.people) < LEAST_JUDGED:
        return None
    blend = best_blend(touches, cutoff, window, tell)
    model = fit(judge.before, cutoff, blend)
    return Report(
        blend,
        judge.figures(model, novel=False),
        judge.figures(model, novel=True),
        judge.popularity_figures(model, novel=False),
        judge.popularity_figures(model, novel=True),
    )


def best_blend(touches: Touches, end: float, window: float, tell: Tell = _silently) -> Blend:
    """The blend that does best on the last window before `end`; the usual one where too few can be judged."""
    judge = Judge(touches, end - window, end)
    return choose(judge, end - window, tell) if len(judge.people) >= LEAST_JUDGED else Blend()
