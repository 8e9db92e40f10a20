import numpy as np
import pytest

from services.recommend.interactions.model import MOST_COUNTED, Interest
from services.recommend.training.model.data import gather
from services.recommend.training.model.neighbours import Blend, fit, popularity

DAY = 86_400_000_000


def _bought(times: int, day: int = 40) -> Interest:
    return Interest(orders={f"o{number}": day * DAY for number in range(times)})


def test_one_person_makes_nothing_popular() -> None:
    """A script with a public key orders one product all day; three people buy a lamp once each."""
    stuffed = Interest(views=9999, adds=9999, first=40 * DAY, last=40 * DAY, orders=_bought(999).orders)
    touches = gather(
        [("script", "stuffed", stuffed), *((f"person {n}", "lamp", _bought(1)) for n in range(3))]
    )
    found = dict(zip(touches.product_ids, popularity(touches, 41.0), strict=True))

    assert 1.0 == found["lamp"]
    assert pytest.approx(MOST_COUNTED / 15) == found["stuffed"]


def test_what_was_touched_long_ago_is_not_popular() -> None:
    touches = gather([("ada", "lamp", _bought(1, 1)), ("bob", "desk", _bought(1, 40))])

    assert {"lamp": 0.0, "desk": 1.0} == dict(
        zip(touches.product_ids, popularity(touches, 41.0), strict=True)
    )


def test_one_person_ties_no_product_to_what_many_bought() -> None:
    """However often a script touches its product and a popular one, many others say more."""
    entries = [(f"person {n}", product, _bought(1)) for n in range(30) for product in ("lamp", "bulb")]
    entries += [("script", product, _bought(500)) for product in ("lamp", "stuffed")]
    touches = gather(entries)
    model = fit(touches, 41.0, Blend(neighbours=2))
    lamp = touches.product_ids.index("lamp")
    near = dict(zip(model.neighbours[lamp], model.similarities[lamp], strict=True))

    assert near[touches.product_ids.index("bulb")] > 0.5 > near[touches.product_ids.index("stuffed")]


def test_shares_of_a_product_s_neighbours_add_up_to_one_or_to_nothing() -> None:
    entries = [(f"person {n % 7}", f"product {n % 5}", _bought(1 + n % 3)) for n in range(35)]
    touches = gather([*entries, ("hermit", "alone", _bought(1))])
    sums = fit(touches, 41.0, Blend(neighbours=3)).similarities.sum(axis=1)

    alone = touches.product_ids.index("alone")
    assert 0.0 == sums[alone]
    assert np.delete(sums, alone) == pytest.approx(1.0)
