from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice

import orjson
import pytest

from cli.replay import SourcedCall, sample_shop, timeline
from cli.replay.call import time_of
from libs.errors import Invalid

END = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def history() -> list[SourcedCall]:
    return list(sample_shop.calls(1, END))


def _of(history: list[SourcedCall], event: str) -> list[SourcedCall]:
    return [(source, call) for source, call in history if call.get("event") == event]


def _carts(history: list[SourcedCall], event: str) -> set[str]:
    return {call["properties"]["cart_id"] for _, call in _of(history, event)}


def test_the_same_seed_and_end_give_the_same_bytes() -> None:
    once, again = (orjson.dumps(list(sample_shop.calls(3, END, 0.05))) for _ in range(2))

    assert once == again


def test_another_seed_or_end_gives_another_history_with_other_message_ids() -> None:
    histories = [(1, END), (2, END), (1, END + timedelta(seconds=1))]
    ids = [{call["messageId"] for _, call in sample_shop.calls(*of, 0.05)} for of in histories]

    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]


def test_the_same_people_come_whenever_the_history_ends() -> None:
    def addresses(end: datetime) -> set[tuple[str, str]]:
        calls = (call for _, call in sample_shop.calls(1, end, 0.05))
        return {
            (call["userId"], call["traits"]["email"])
            for call in calls
            if call["type"] == "identify" and "email" in call["traits"] and "userId" in call
        }

    known = addresses(END) | addresses(END - timedelta(days=1))

    assert len(known) == len({user for user, _ in known})


def test_there_are_about_sixty_thousand_calls_over_half_a_year(history: list[SourcedCall]) -> None:
    times = [time_of(call) for _, call in history]

    assert 50_000 < len(history) < 70_000
    assert END - timedelta(days=182) <= min(times) < END - timedelta(days=170)
    assert END - timedelta(minutes=3) < max(times) <= END


def test_more_than_half_of_the_carts_are_abandoned(history: list[SourcedCall]) -> None:
    carts, ordered = _carts(history, "Product Added"), _carts(history, "Order Completed")

    assert ordered <= carts
    assert 0.5 < 1 - len(ordered) / len(carts) < 0.6


def test_a_few_calls_are_made_twice_with_the_same_content(history: list[SourcedCall]) -> None:
    contents: dict[str, set[bytes]] = {}
    for _, call in history:
        contents.setdefault(call["messageId"], set()).add(orjson.dumps(call))
    resent = len(history) - len(contents)

    assert 0.001 < resent / len(history) < 0.01
    assert all(len(copies) == 1 for copies in contents.values())


def test_a_few_calls_are_hours_late_and_the_others_in_order(history: list[SourcedCall]) -> None:
    latest, behind = time_of(history[0][1]), []
    for _, call in history:
        latest = max(latest, time_of(call))
        behind.append(latest - time_of(call))
    late = sum(delay > timedelta(hours=1) for delay in behind)

    assert 0.001 < late / len(history) < 0.01
    assert 0.99 < sum(not delay for delay in behind) / len(history)


def test_orders_and_email_activity_come_from_the_server_and_views_from_the_browser(
    history: list[SourcedCall],
) -> None:
    sources: dict[str, set[str]] = {}
    for source, call in history:
        sources.setdefault(str(call.get("event", call["type"])), set()).add(source)

    assert {
        "identify": {"website", "backend"},
        "Signed Up": {"website"},
        "Product Viewed": {"website"},
        "Product Added": {"website"},
        "Checkout Started": {"website"},
        "Order Completed": {"backend"},
        "Email Opened": {"backend"},
        "Email Link Clicked": {"backend"},
        "Unsubscribed": {"backend"},
    } == sources


def test_a_browser_never_grants_consent_and_the_server_knows_some_who_refuse(
    history: list[SourcedCall],
) -> None:
    granted = Counter(
        (source, call["context"]["consent"]["categoryPreferences"]["email_marketing"])
        for source, call in history
        if "consent" in call.get("context", {})
    )

    assert {("backend", True), ("backend", False)} == set(granted)
    assert granted["backend", True] > 3 * granted["backend", False]


def test_people_have_several_devices_and_some_never_say_who_they_are(history: list[SourcedCall]) -> None:
    devices: dict[str, set[str]] = {}
    seen = set()
    for _, call in history:
        if "anonymousId" in call:
            seen.add(call["anonymousId"])
            if "userId" in call:
                devices.setdefault(call["userId"], set()).add(call["anonymousId"])

    assert {1, 2, 3} == {len(of) for of in devices.values()}
    assert len(seen - set().union(*devices.values())) > len(seen) / 5


def test_guests_order_with_nothing_but_an_address(history: list[SourcedCall]) -> None:
    guests = [call for _, call in _of(history, "Order Completed") if "userId" not in call]

    assert guests
    assert all(call["context"]["traits"]["email"].endswith("@example.com") for call in guests)


def test_an_order_says_what_was_bought_for_how_much(history: list[SourcedCall]) -> None:
    orders = _of(history, "Order Completed")
    ids = {call["messageId"]: call["properties"]["order_id"] for _, call in orders}

    assert len(ids) == len(set(ids.values()))
    for _, call in orders:
        order = call["properties"]
        total = sum(product["price"] * product["quantity"] for product in order["products"])
        assert order["revenue"] == pytest.approx(total)


@pytest.mark.parametrize("scale", [0.01, 1])
@pytest.mark.parametrize("seed", range(1, 6))
def test_the_last_calls_hold_orders_and_carts_of_people_who_can_be_written_to(
    seed: int, scale: float
) -> None:
    earlier, held = timeline.hold_back(sample_shop.calls(seed, END, scale), 60)
    consents = {
        call["userId"]: call["context"]["consent"]["categoryPreferences"]["email_marketing"]
        for _, call in [*earlier, *held]
        if "consent" in call.get("context", {})
    }
    last = list(held)
    ordered = _carts(last, "Order Completed")
    left = [
        call
        for _, call in _of(last, "Product Added")
        if call["properties"]["cart_id"] not in ordered and consents.get(call.get("userId", ""))
    ]

    assert ordered
    assert left


def test_it_begins_at_once() -> None:
    assert 10 == len(list(islice(sample_shop.calls(1, END), 10)))


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_scale_that_means_nothing_is_refused(scale: float) -> None:
    with pytest.raises(Invalid):
        next(sample_shop.calls(1, END, scale))


def test_an_end_without_a_time_zone_is_refused() -> None:
    with pytest.raises(Invalid):
        next(sample_shop.calls(1, END.replace(tzinfo=None)))
