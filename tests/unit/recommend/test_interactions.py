from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.recommend.interactions.model import (
    MOST_ORDERS,
    Interest,
    Kind,
    Person,
    Touch,
    Update,
    touches_of,
    weight_of,
)
from tests.unit.recommend.lives import touches

EVENT_ID = b"\x01" * 16


def _interests(*seen: tuple[str, dict[str, Any]]) -> dict[str, Interest]:
    person = Person("")
    for number, (name, properties) in enumerate(seen, 1):
        touched = touches_of(name, properties, number, bytes([number] * 16))
        person.apply(Update("", number, touches=touched))
    return person.interests


def _order(*product_ids: str, order_id: str = "o1") -> tuple[str, dict[str, Any]]:
    return "Order Completed", {"order_id": order_id, "products": [{"product_id": p} for p in product_ids]}


def _line(product_id: str, order_id: str = "o1") -> tuple[str, dict[str, Any]]:
    return "Product Ordered", {"order_id": order_id, "product_id": product_id}


@settings(deadline=None)
@given(st.lists(touches, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(seen: list[Touch], rng: Random) -> None:
    shuffled = rng.sample(seen, len(seen))
    persons = []
    for order in (seen, shuffled):
        person = Person("")
        for revision, touch in enumerate(order, 1):
            person.apply(Update("", revision, touches=[touch]))
        persons.append(person)

    assert persons[0].interests == persons[1].interests
    assert persons[0].refunded == persons[1].refunded


def test_a_step_that_was_taken_before_changes_nothing() -> None:
    person = Person("")
    step = Update("", 1, touches=[Touch(Kind.VIEWED, "lamp", 1, "e")])
    person.apply(step)
    person.apply(step)

    assert 1 == person.interests["lamp"].views


def test_a_view_counts_one_an_added_product_three_and_a_purchase_five() -> None:
    lamp = {"product_id": "lamp"}
    interests = _interests(("Product Viewed", lamp), ("Product Added", lamp), _line("lamp"))

    assert 9 == weight_of(interests["lamp"])


@pytest.mark.parametrize("lines_first", [True, False])
def test_a_product_of_an_order_counts_once_whether_told_by_lines_or_by_the_order(lines_first: bool) -> None:
    told = [_line("lamp"), _line("lamp"), _line("desk"), _order("lamp", "chair")]
    interests = _interests(*(told if lines_first else reversed(told)))

    assert {"lamp": 5, "desk": 5, "chair": 5} == {p: weight_of(i) for p, i in interests.items()}


def test_orders_without_an_id_count_each() -> None:
    nameless = ("Product Ordered", {"product_id": "lamp"})
    interests = _interests(nameless, nameless)

    assert 2 == len(interests["lamp"].purchases)


def test_a_refunded_product_was_not_bought() -> None:
    refund = ("Order Refunded", {"order_id": "o1", "products": [{"product_id": "lamp"}]})
    interests = _interests(_order("lamp", "desk"), refund)

    assert {"lamp": 0, "desk": 5} == {p: weight_of(i) for p, i in interests.items()}


def test_a_refund_that_names_no_product_is_of_the_whole_order_even_where_lines_come_late() -> None:
    interests = _interests(_line("lamp"), ("Order Refunded", {"order_id": "o1"}), _line("desk"))

    assert {"lamp": 0, "desk": 0} == {p: weight_of(i) for p, i in interests.items()}


def test_a_refund_with_a_number_of_its_own_undoes_one_purchase() -> None:
    refund = ("Order Refunded", {"order_id": "C9", "product_id": "lamp"})
    interests = _interests(_line("lamp", "o1"), _line("lamp", "o2"), refund)

    assert [1] == interests["lamp"].purchases


def test_a_refund_of_what_was_never_bought_takes_nothing_from_views() -> None:
    refund = ("Order Refunded", {"order_id": "C9", "product_id": "lamp"})
    interests = _interests(("Product Viewed", {"product_id": "lamp"}), refund)

    assert 1 == weight_of(interests["lamp"])


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"product_id": None},
        {"product_id": ["lamp"]},
        {"product_id": True},
        {"product_id": "x" * 256},
        {"product_id": "la\0mp"},
        {"product_id": "\ud800"},
        {"products": "lamp"},
        {"products": ["lamp", 3, {"name": "Lamp"}]},
    ],
)
def test_what_names_no_product_tells_nothing(properties: dict[str, Any]) -> None:
    assert [] == touches_of("Product Viewed", properties, 1, EVENT_ID)


def test_a_product_id_may_be_a_number() -> None:
    touched = touches_of("Product Viewed", {"product_id": 17}, 1, EVENT_ID)

    assert ["17"] == [touch.product_id for touch in touched]


ADDED = "Product Added", {"product_id": "lamp"}
REMOVED = "Product Removed", {"product_id": "lamp"}
SEEN_IN_CART = "Cart Viewed", {"products": [{"product_id": "lamp"}]}
AT_CHECKOUT = "Checkout Started", {"products": [{"product_id": "lamp"}]}


@pytest.mark.parametrize(
    ("seen", "cart_time"),
    [
        ([ADDED], 1),
        ([SEEN_IN_CART], 1),
        ([ADDED, AT_CHECKOUT], 2),
        ([ADDED, REMOVED], 0),
        ([ADDED, REMOVED, ADDED], 3),
        ([ADDED, _order("lamp")], 0),
        ([ADDED, _order("desk")], 1),
        ([_order("lamp"), ADDED], 2),
        ([REMOVED, SEEN_IN_CART], 2),
        ([("Product Viewed", {"product_id": "lamp"})], 0),
    ],
)
def test_what_was_added_lies_in_the_cart_until_it_is_removed_or_bought(
    seen: list[tuple[str, dict[str, Any]]], cart_time: int
) -> None:
    assert cart_time == _interests(*seen)["lamp"].cart_time


def test_what_is_put_in_and_taken_out_at_one_time_lies_in_the_cart() -> None:
    person = Person("")
    touched = [touch for event in (ADDED, REMOVED) for touch in touches_of(*event, 5, EVENT_ID)]
    person.apply(Update("", 1, touches=touched))

    assert 5 == person.interests["lamp"].cart_time


def test_a_cart_says_nothing_of_a_liking() -> None:
    interests = _interests(SEEN_IN_CART, AT_CHECKOUT, REMOVED)

    assert (0, 0) == (weight_of(interests["lamp"]), interests["lamp"].last_time)


def test_a_refund_that_names_neither_order_nor_product_tells_nothing() -> None:
    assert [] == touches_of("Order Refunded", {"total": 5}, 1, EVENT_ID)


def test_a_state_does_not_grow_for_ever_and_keeps_the_latest_in_any_order() -> None:
    numbers = list(range(2 * MOST_ORDERS))
    kept = []
    for order in (numbers, numbers[::-1], Random(1).sample(numbers, len(numbers))):
        interest = Interest()
        for number in order:
            interest.apply(Touch(Kind.ORDERED, "lamp", number, f"o{number:04}"))
            interest.apply(Touch(Kind.REFUNDED, "lamp", number, f"r{number:04}"))
        kept.append(interest)

    assert kept[0] == kept[1] == kept[2]
    assert numbers[MOST_ORDERS:] == sorted(kept[0].orders.values())
    assert MOST_ORDERS == len(kept[0].refunds)


def test_a_tombstone_forgets_all_interests() -> None:
    person = Person("", interests={"lamp": Interest(views=1)}, refunded={"o1"})
    person.apply(Update("", 1, merged_into="survivor"))

    assert ("survivor", {}, set()) == (person.merged_into, person.interests, person.refunded)
