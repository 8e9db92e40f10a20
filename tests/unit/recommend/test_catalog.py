from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.errors import NotFound, Required
from services.recommend.catalog.model import (
    FIELDS,
    Price,
    Product,
    Statements,
    latest_facts,
    merged,
    statements_of,
)
from services.recommend.catalog.use_cases import Catalog

LAMP = {"product_id": "lamp"}


def _said(name: str = "Product Viewed", /, *, trusted: bool = True, **properties: Any) -> dict[str, Any]:
    """What an event says of the lamp, by field."""
    statements = statements_of(name, {**LAMP, **properties}, 1, trusted)
    return {field: value for (_, field), (_, value) in statements.facts.items()}


HARMFUL: list[dict[str, Any]] = [
    {"name": "You have won", "price": 0.01, "url": "https://evil.example"},
    {"image_url": "https://evil.example/x.png", "category": "Scam"},
    {"price": 1, "currency": "XXX"},
    {"products": [{"product_id": "desk", "name": "Evil desk"}]},
]


@pytest.mark.parametrize("properties", HARMFUL)
@pytest.mark.parametrize("name", ["Product Viewed", "Product Added", "Order Completed", "Order Refunded"])
def test_a_browsers_product_viewed_with_name_price_and_url_says_nothing_to_others(
    name: str, properties: dict[str, Any]
) -> None:
    assert Statements() == statements_of(name, {**LAMP, **properties}, 1, trusted=False)
    assert "lamp" in statements_of(name, {**LAMP, **properties}, 1, trusted=True).named


def test_a_later_word_of_a_browser_does_not_undo_a_servers() -> None:
    server = statements_of("Product Viewed", {**LAMP, "name": "Lamp", "price": 30}, 1, trusted=True)
    browser = statements_of("Product Viewed", {**LAMP, "name": "Evil", "price": 1}, 2, trusted=False)

    assert server == merged([server, browser]) == merged([browser, server])


@pytest.mark.parametrize(
    ("given_", "price"),
    [
        ({"price": 19.99}, Price(Decimal("19.99"))),
        ({"price": 0}, Price(Decimal(0))),
        ({"price": "2"}, Price(Decimal(2))),
        ({"price": "1,299.00", "currency": "USD"}, Price(Decimal(1299), "USD")),
        ({"price": "1.299,00", "currency": "eur"}, Price(Decimal(1299), "EUR")),
        ({"price": "12,50 €"}, Price(Decimal("12.5"), "EUR")),
        ({"price": "12.50", "currency": "$"}, Price(Decimal("12.5"))),
        ({"price": "£5", "currency": "EUR"}, Price(Decimal(5), "GBP")),
    ],
)
def test_prices_as_texts_are_read_where_they_have_one_reading(given_: dict[str, Any], price: Price) -> None:
    assert {"price": price} == _said(**given_)


@pytest.mark.parametrize(
    "price", ["1,299", "1.299", "free", "", None, True, -1, "-5", [3], {"amount": 3}, 1e300, "12-15"]
)
def test_a_price_that_is_unknown_or_ambiguous_is_not_taken(price: Any) -> None:
    assert {} == _said(price=price)


def test_an_items_own_currency_holds_before_the_orders() -> None:
    lines = [{"product_id": "lamp", "price": 3}, {"product_id": "desk", "price": 4, "currency": "CHF"}]
    facts = statements_of("Order Completed", {"currency": "EUR", "products": lines}, 1, True).facts

    assert (1, Price(Decimal(3), "EUR")) == facts["lamp", "price"]
    assert (1, Price(Decimal(4), "CHF")) == facts["desk", "price"]


@pytest.mark.parametrize(
    ("given_", "taken"),
    [
        ("https://shop.example/lamp?a=1&b=2", "https://shop.example/lamp?a=1&b=2"),
        ("HTTP://shop.example/lamp", "HTTP://shop.example/lamp"),
        (" https://shop.example/lamp ", "https://shop.example/lamp"),
        ("//cdn.example/lamp.png", "https://cdn.example/lamp.png"),
        ("https://bücher.example/lämp", "https://bücher.example/lämp"),
    ],
)
def test_absolute_web_addresses_of_products_are_taken(given_: str, taken: str) -> None:
    assert {"url": taken, "image_url": taken} == _said(url=given_, image_url=given_)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "ftp://shop.example/lamp",
        "/lamp",
        "lamp.html",
        "https://",
        "https:/lamp",
        "https://shop.example/a b",
        'https://shop.example/"onclick="x',
        "https://shop.example/\\evil",
        "https://shop.example:port/",
        "https://[::1/",
        "https://shop.example/" + "x" * 2048,
        "",
        None,
        7,
        ["https://shop.example"],
    ],
)
def test_javascript_and_data_urls_of_products_are_not_taken(url: Any) -> None:
    assert {} == _said(url=url, image_url=url)


@pytest.mark.parametrize("name", ["", "   ", None, 7, {}, "la\0mp", "\ud800"])
def test_a_name_that_is_none_is_not_taken(name: Any) -> None:
    assert {} == _said(name=name)


def test_one_bad_field_costs_itself_alone() -> None:
    assert {"name": "Lamp"} == _said(name=" Lamp ", price="free", url="javascript:x", category=["Light"])


def test_a_refund_names_a_product_and_says_nothing_of_its_price() -> None:
    statements = statements_of("Order Refunded", {**LAMP, "price": 3}, 1, True)

    assert Statements(frozenset({"lamp"})) == statements


def test_the_catalog_keeps_what_was_said_last_of_each_field() -> None:
    said = [
        statements_of("Product Viewed", {**LAMP, "name": "Lamp", "price": 3}, 1, True),
        statements_of("Product Viewed", {**LAMP, "price": 2.5, "url": ""}, 2, True),
        statements_of("Product Added", {**LAMP, "price": "free", "name": 7}, 3, True),
    ]

    assert {("lamp", "name"): (1, "Lamp"), ("lamp", "price"): (2, Price(Decimal("2.5")))} == merged(
        said
    ).facts


def test_at_equal_times_the_greater_value_holds() -> None:
    one, other = {("lamp", "name"): (1, "Lamp")}, {("lamp", "name"): (1, "Light")}

    assert other == latest_facts([one, other])
    assert other == latest_facts([other, one])


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["product_id", "products", "currency", *FIELDS]), _values))
def test_no_properties_are_an_error(properties: dict[str, Any]) -> None:
    statements_of("Order Completed", properties, 1, True)
    statements_of("Order Completed", {"products": [{"product_id": "lamp"} | properties]}, 1, True)


class _Stored:
    """A catalog of one product."""

    def __init__(self, product: Product) -> None:
        self._product = product

    async def some(self, product_ids: Any) -> dict[str, Product]:
        return {self._product.product_id: self._product} if self._product.product_id in product_ids else {}

    async def page(self, after: str, limit: int) -> list[Product]:
        return [self._product][:limit]


async def test_a_price_without_a_currency_is_in_the_shops_where_that_is_set() -> None:
    catalog = Catalog(_Stored(Product("lamp", price=Price(Decimal(3)))), "SEK")

    assert Price(Decimal(3), "SEK") == (await catalog.get("lamp")).price
    assert [Price(Decimal(3), "SEK")] == [one.price for one in await catalog.page("", 5)]
    own = Catalog(_Stored(Product("lamp", price=Price(Decimal(3), "EUR"))), "SEK")
    assert Price(Decimal(3), "EUR") == (await own.get("lamp")).price


async def test_a_product_that_no_server_has_named_is_not_found() -> None:
    catalog = Catalog(_Stored(Product("lamp")))

    with pytest.raises(NotFound):
        await catalog.get("desk")
    with pytest.raises(Required):
        await catalog.get("")
