from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.amounts import read_amount, read_currency, read_money
from libs.money import amount_of, money_pb


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (2, "2"),
        (19.99, "19.99"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("2", "2"),
        (" 12.5 ", "12.5"),
        ("12,50", "12.50"),
        (".99", "0.99"),
        ("1,299.00", "1299"),
        ("1.299,00", "1299"),
        ("1 299,00", "1299"),
        ("1\u00a0299,00", "1299"),
        ("1\u202f299", "1299"),
        ("1'299.00", "1299"),
        ("1’299.00", "1299"),
        ("12,34,567.00", "1234567"),
        ("1,299,000", "1299000"),
        ("1.299.000", "1299000"),
        ("1299.000", "1299"),
        ("0.125", "0.125"),
        ("12.3456", "12.3456"),
        ("-3", "-3"),
        ("１２．５０", "12.5"),
    ],
)
def test_what_has_one_reading_is_read(value: Any, amount: str) -> None:
    assert Decimal(amount) == read_amount(value)


@pytest.mark.parametrize("value", ["1,299", "1.299", "12,345", "999.999"])
def test_what_is_thousands_in_one_country_and_parts_in_another_is_not_read(value: str) -> None:
    assert read_amount(value) is None


@pytest.mark.parametrize(
    "value",
    [None, True, False, [], {}, "", ".", "free", "1,2,3", "1.299.00", "1,299,00", "1e3", "NaN", "Infinity",
     "0x10", "1_000", "12.5.", "--1", float("nan"), float("inf"), "1" * 41],
)  # fmt: skip
def test_what_is_no_number_is_not_read(value: Any) -> None:
    assert read_amount(value) is None


@pytest.mark.parametrize(
    ("value", "amount", "currency"),
    [
        (12, "12", ""),
        ("€ 12,50", "12.5", "EUR"),
        ("12,50€", "12.5", "EUR"),
        ("USD 1,299.00", "1299", "USD"),
        ("12.00 chf", "12", "CHF"),
        ("$5", "5", ""),
        ("¥500", "500", ""),
    ],
)
def test_a_currency_may_stand_beside_the_number(value: Any, amount: str, currency: str) -> None:
    assert (Decimal(amount), currency) == read_money(value)


@pytest.mark.parametrize("value", ["EUR 12 USD", "from 12", "12 rupees", "12-15", "€ 1,299", "EUR", ""])
def test_what_is_no_amount_of_money_is_not_read(value: str) -> None:
    assert read_money(value) is None


@pytest.mark.parametrize(
    ("value", "code"), [("eur", "EUR"), (" USD ", "USD"), ("€", "EUR"), ("$", ""), ("euros", ""), (978, "")]
)
def test_a_currency_is_a_code_or_a_sign_of_one_currency_alone(value: Any, code: str) -> None:
    assert code == read_currency(value)


@settings(deadline=None)
@given(st.decimals(-(10**17), 10**17, places=9))
def test_money_carries_every_amount_exactly(amount: Decimal) -> None:
    money = money_pb(amount, "EUR")

    assert amount == amount_of(money)
    assert money.units * money.nanos >= 0
    assert abs(money.nanos) < 1_000_000_000


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 99), st.sampled_from([",.", ".,", " ,", " .", "'."]))
def test_every_way_to_group_digits_reads_the_same(whole: int, part: int, marks: str) -> None:
    grouped = f"{whole:,}".replace(",", marks[0])

    assert Decimal(f"{whole}.{part:02}") == read_amount(f"{grouped}{marks[1]}{part:02}")


@settings(deadline=None)
@given(st.text(max_size=45))
def test_no_text_is_an_error(text: str) -> None:
    read_amount(text)
    read_money(text)
    read_currency(text)
