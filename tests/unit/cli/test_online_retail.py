import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.replay import Call, SourcedCall, online_retail, open_history, retail_file
from cli.replay.call import time_of
from libs.errors import Invalid, NotFound

HEADER = ",".join(retail_file.COLUMNS)
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.csv"
    path.write_text(
        "\n".join(
            [
                HEADER,
                '1,A,"RED, LAMP ",2,2010-12-01 08:26:00,2.50,7.0,France',
                "1,A,RED LAMP,2,2010-12-01 08:26:00,2.50,7.0,France",
                "C2,A,RED LAMP,-1,2010-12-01 08:27:00,2.50,7.0,France",
                "1,B,BOX,1,2010-12-01 08:27:00,1.25,7.0,France",
                "3,C,,-10,2010-12-01 09:00:00,0.0,,United Kingdom",
            ]
        )
    )
    return path


@pytest.fixture(scope="module")
def real_file() -> Path:
    data = Path(os.environ.get("TESSERA_DATA", Path(__file__).parents[3] / ".." / "shared"))
    try:
        return retail_file.find(data)
    except NotFound as missing:
        reason = f"{missing}: set TESSERA_DATA to the folder that holds it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _append(path: Path, *lines: bytes) -> None:
    path.write_bytes(b"\n".join([path.read_bytes(), *lines]))


def _name(call: Call) -> str:
    return str(call.get("event", call["type"]))


def _names(history: list[SourcedCall]) -> list[tuple[str, str]]:
    return [(call["messageId"], _name(call)) for _, call in history]


def test_an_invoice_becomes_its_lines_and_an_order(shop: Path) -> None:
    history = list(online_retail.calls(shop))

    assert [
        ("customer-7", "identify"),
        ("1-1", "Product Ordered"),
        ("1-2", "Product Ordered"),
        ("1-3", "Product Ordered"),
        ("1-order", "Order Completed"),
        ("C2-1", "Order Refunded"),
        ("3-1", "Product Ordered"),
        ("3-order", "Order Completed"),
    ] == _names(history)
    assert {
        "order_id": "1",
        "revenue": 11.25,
        "currency": "GBP",
        "quantity": 5,
        "products": [
            {"product_id": "A", "name": "RED, LAMP", "price": 2.5, "quantity": 2},
            {"product_id": "A", "name": "RED LAMP", "price": 2.5, "quantity": 2},
            {"product_id": "B", "name": "BOX", "price": 1.25, "quantity": 1},
        ],
        "products_total": 3,
        "country": "France",
    } == history[4][1]["properties"]


def test_an_order_names_its_fifty_dearest_lines_and_counts_them_all(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    lines = [f"1,P{number},BOX,1,2010-12-01 08:26:00,{number},7.0,France" for number in range(1, 81)]
    path.write_text("\n".join([HEADER, *lines]))
    order = list(online_retail.calls(path))[-1][1]["properties"]

    assert [f"P{number}" for number in range(80, 30, -1)] == [
        item["product_id"] for item in order["products"]
    ]
    assert 80 == order["products_total"]


def test_a_refund_counts_what_came_back(shop: Path) -> None:
    refund = list(online_retail.calls(shop))[5][1]

    assert 1 == refund["properties"]["quantity"]
    assert 2.5 == refund["properties"]["total"]
    assert "7" == refund["userId"]


def test_an_invoice_without_a_customer_is_anonymous_and_keeps_its_negative_lines(shop: Path) -> None:
    line, order = (call for _, call in list(online_retail.calls(shop))[-2:])

    assert "invoice-3" == line["anonymousId"] == order["anonymousId"]
    assert "userId" not in line
    assert -10 == line["properties"]["quantity"] == order["properties"]["quantity"]
    assert "0.0" == str(order["properties"]["revenue"])


def test_malformed_lines_are_skipped_and_counted_with_their_numbers(shop: Path) -> None:
    good = list(online_retail.calls(shop))
    _append(
        shop,
        b"4,A,LAMP",
        b"",
        b"4,A,LAMP,many,2010-12-01 10:00:00,1.0,7.0,France",
        b'4,A,"LAMP,1,2010-12-01 10:00:00,1.0,7.0,France',
        b"4,A,\xa3 LAMP,1,2010-12-01 10:00:00,1.0,7.0,France",
        b"4,A,LAMP,1,yesterday,1.0,7.0,France",
        b"4,A,LAMP,1,2010-12-01 10:00:00,nan,7.0,France",
        b"4,A,LAMP,1,2010-12-01 10:00:00,1.0,nobody,France",
        b",A,LAMP,1,2010-12-01 10:00:00,1.0,7.0,France",
        b"5,A,LAMP,1,2010-12-01 10:00:00,1.0,7.0,France",
    )
    skipped = retail_file.SkippedLines()
    history = list(online_retail.calls(shop, skipped))

    assert [*_names(good), ("5-1", "Product Ordered"), ("5-order", "Order Completed")] == _names(history)
    assert 8 == skipped.count
    assert [7, 9, 10, 11, 12, 13, 14, 15] == [number for number, _ in skipped.first]


def test_only_the_first_hundred_skipped_lines_are_remembered(shop: Path) -> None:
    _append(shop, *[b"?"] * 250)
    skipped = retail_file.SkippedLines()
    list(online_retail.calls(shop, skipped))

    assert 250 == skipped.count
    assert 100 == len(skipped.first)


def test_a_file_whose_invoices_are_scattered_is_refused(shop: Path) -> None:
    _append(shop, b"1,A,LAMP,1,2010-12-01 10:00:00,1.0,7.0,France")

    with pytest.raises(Invalid, match="invoice 1 is in several places"):
        online_retail.summarize(shop)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(HEADER.replace("UnitPrice", "Price"))

    with pytest.raises(Invalid, match=r"shop\.csv: lacks the columns UnitPrice"):
        list(online_retail.calls(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=str(tmp_path)):
        retail_file.find(tmp_path)


def test_a_file_without_a_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(HEADER)

    with pytest.raises(Invalid, match="no line"):
        online_retail.summarize(path)


def test_a_damaged_archive_is_refused(tmp_path: Path, real_file: Path) -> None:
    path = tmp_path / "cut.csv.zst"
    path.write_bytes(real_file.read_bytes()[:100_000])

    with pytest.raises(Invalid, match="damaged"):
        list(online_retail.calls(path))


def test_a_summary_counts_the_calls_and_finds_the_last_time(shop: Path) -> None:
    summary = online_retail.summarize(shop)

    assert (8, datetime(2010, 12, 1, 9, tzinfo=UTC)) == summary


def test_data_from_another_year(shop: Path) -> None:
    """Moved by whole weeks to end within the last one, which the history tells; or left, if so asked."""
    moved = open_history(shop, NOW)
    kept = open_history(shop, NOW, keep_times=True)
    last = max(time_of(call) for _, call in moved.calls())

    assert NOW - timedelta(weeks=1) < last <= NOW
    assert 8 == moved.count == len(list(moved.calls()))
    shift = timedelta(weeks=moved.shift_weeks)
    assert shift > timedelta(weeks=52 * 15)
    assert [time_of(call) + shift for _, call in kept.calls()] == [time_of(call) for _, call in moved.calls()]
    assert 0 == kept.shift_weeks
    assert list(online_retail.calls(shop)) == list(kept.calls())


def test_without_data_the_sample_shop_opens() -> None:
    history = open_history(None, NOW, scale=0.01)

    assert {"website", "backend"} == {source for source, _ in history.calls()}
    assert {"website", "backend"} == {source.source_id for source in history.sources}


def test_the_real_file_has_the_figures_that_its_readme_states(real_file: Path) -> None:
    skipped = retail_file.SkippedLines()
    events: Counter[str] = Counter()
    invoices, products, customers = set(), set(), set()
    quantity, value = 0, 0.0
    times: list[str] = []
    for _, call in online_retail.calls(real_file, skipped):
        event = _name(call)
        events[event] += 1
        times.append(call["timestamp"])
        if event == "identify":
            customers.add(call["userId"])
            continue
        properties = call["properties"]
        invoices.add(properties["order_id"])
        if event != "Order Completed":
            sign = -1 if event == "Order Refunded" else 1
            products.add(properties["product_id"])
            quantity += sign * properties["quantity"]
            value += sign * properties["quantity"] * properties["price"]

    assert 0 == skipped.count
    assert sorted(times) == times
    assert 541_909 == events["Product Ordered"] + events["Order Refunded"]
    assert 9_288 == events["Order Refunded"]
    assert 25_900 == len(invoices)
    assert 22_064 == events["Order Completed"]
    assert 4_372 == events["identify"] == len(customers)
    assert 4_070 == len(products)
    assert 5_176_450 == quantity
    assert 9_747_747.934 == pytest.approx(value, abs=0.0005)
    assert ["2010-12-01T08:26:00.000Z", "2011-12-09T12:50:00.000Z"] == [times[0], times[-1]]
    assert online_retail.Summary(568_345, datetime(2011, 12, 9, 12, 50, tzinfo=UTC)) == (
        online_retail.summarize(real_file)
    )
