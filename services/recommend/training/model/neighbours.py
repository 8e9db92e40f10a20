"""The model: products that go together, what the person touched itself, and what is popular now.

What one person touched and bought decides by TF-IDF weighted cosines between products, each with
its nearest neighbours only. Buying again and discovering are two questions: each has a blend of its
own with popularity, which also breaks ties and answers for newcomers.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import TfidfTransformer  # type: ignore[import-untyped]
from sklearn.preprocessing import normalize  # type: ignore[import-untyped]

from services.recommend.interactions.model import MOST_COUNTED
from services.recommend.training.model.data import Array, Pairs, Touches, pairs_of

POPULAR_DAYS = 30
# Tastes change: what was touched so many days earlier counts half, for the person and for the neighbours.
PERSON_HALF_LIFE = 180.0
NEIGHBOUR_HALF_LIFE = 90.0

# Rows times columns of cosines that are held at once: 128 MB.
_MOST_CELLS = 1 << 25


@dataclass(frozen=True, slots=True)
class Blend:
    """What evaluation chooses."""

    neighbours: int = 50
    own: float = 0.5
    """How much a product counts for having been touched itself, beside the products like it."""
    popularity: float = 0.02
    discovery: float = 0.01
    """The same, where what was bought is left out."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model. Arrays of N products; a product without enough neighbours has weights of 0."""

    neighbours: Array
    """N × K indexes."""
    similarities: Array
    """N × K; each row adds up to 1, or is 0."""
    popularity: Array
    """From 0 to 1."""
    blend: Blend

    @property
    def matrix(self) -> sparse.csr_matrix:
        """The similarities as N × N."""
        count, width = self.neighbours.shape
        rows = np.repeat(np.arange(count), width)
        places = (rows, self.neighbours.ravel())
        return sparse.csr_matrix((self.similarities.ravel(), places), shape=(count, count))


def fit(touches: Touches, now: float, blend: Blend) -> Fitted:
    """Train on touches, all of them from before `now`, in days since 1970."""
    pairs = pairs_of(touches)
    neighbours, similarities = _nearest(_vectors(pairs, len(touches.product_ids), now), blend.neighbours)
    return Fitted(neighbours, similarities, popularity(touches, now), blend)


def popularity(touches: Touches, now: float) -> Array:
    """How popular each product was in the last days, from 0 to 1; each person counts within a bound."""
    recent = pairs_of(touches.where(touches.days >= now - POPULAR_DAYS))
    counted = np.minimum(recent.weights, MOST_COUNTED)
    weights = np.bincount(recent.products, counted, len(touches.product_ids))
    return np.asarray(weights / max(weights.max(initial=0), 1.0))


def histories(pairs: Pairs, people: Array, count: int) -> sparse.csr_matrix:
    """People × products: how much each touch says, adding up to 1 a person; as the graph computes it."""
    row_of = np.full(max(people.max(initial=0), pairs.people.max(initial=0)) + 1, -1)
    row_of[people] = np.arange(len(people))
    rows = row_of[pairs.people]
    chosen = rows >= 0
    rows, days = rows[chosen], pairs.days[chosen]
    latest = np.full(len(people), -np.inf)
    np.maximum.at(latest, rows, days)
    weights = np.sqrt(pairs.weights[chosen]) * 0.5 ** ((latest[rows] - days) / PERSON_HALF_LIFE)
    shares = weights / np.bincount(rows, weights, len(people))[rows]
    return sparse.csr_matrix((shares, (rows, pairs.products[chosen])), shape=(len(people), count))


def _vectors(pairs: Pairs, count: int, now: float) -> sparse.csr_matrix:
    """A unit vector over people for each product."""
    weights = np.sqrt(pairs.weights) * 0.5 ** ((now - pairs.days) / NEIGHBOUR_HALF_LIFE)
    _, rows = np.unique(pairs.people, return_inverse=True)
    matrix = sparse.csr_matrix((weights, (rows, pairs.products)), shape=(rows.max(initial=0) + 1, count))
    # What few people touched says more of each of them; and nobody says more by touching much.
    return normalize(TfidfTransformer().fit_transform(matrix), axis=0).T.tocsr()


def _nearest(vectors: sparse.csr_matrix, width: int) -> tuple[Array, Array]:
    """Each product's nearest others and their cosines, as shares of 1."""
    count = vectors.shape[0]
    width = min(width, count)
    neighbours = np.zeros((count, width), np.int64)
    similarities = np.zeros((count, width))
    across = vectors.T.tocsr()
    step = max(1, _MOST_CELLS // count)
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count))
        cosines = (vectors[rows] @ across).toarray()
        cosines[rows - start, rows] = 0
        nearest = np.argpartition(-cosines, width - 1, axis=1)[:, :width]
        neighbours[rows] = nearest
        similarities[rows] = np.take_along_axis(cosines, nearest, axis=1)
    return neighbours, normalize(similarities, norm="l1")
