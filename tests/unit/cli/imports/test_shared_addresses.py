"""Two rows that share an address."""

import orjson
import pytest

from cli.imports.events import Line
from cli.imports.shared_addresses import SharedAddresses
from libs.tracking.calls import decode_file_call
from libs.tracking.contract import event_of


def _line(number: int, **call: object) -> Line:
    return Line(number, event_of(decode_file_call(orjson.dumps(call)), f"m-{number}"))


def _told(*lines: Line) -> dict[int, str]:
    shared = SharedAddresses()
    for line in lines:
        shared.note(line)
    return {line.number: problem for line in lines if (problem := shared.problem(line))}


def test_csv_two_rows_that_share_an_address_are_refused_and_each_names_the_other() -> None:
    told = _told(
        _line(2, userId="a", email="One@Example.com"),
        _line(3, userId="b", email="two@example.com"),
        _line(4, userId="c", email=" one@example.com"),
    )

    assert {2, 4} == told.keys()
    assert "one@example.com belongs to another user id in line 4" in told[2]
    assert "in line 2" in told[4]
    assert "--shared-addresses" in told[4]


@pytest.mark.parametrize(
    "second",
    [
        {"userId": "b", "traits": {"phone": "0044 20 7946 0000"}},
        {"userId": "b", "event": "Order", "context": {"traits": {"phone": "+442079460000"}}},
        {"userId": "b", "phone": "+44 (20) 7946-0000"},
    ],
)
def test_an_address_is_shared_wherever_it_stands_and_however_it_is_written(second: dict[str, object]) -> None:
    assert {1, 2} == _told(_line(1, userId="a", phone="+442079460000"), _line(2, **second)).keys()


@pytest.mark.parametrize(
    "second",
    [
        {"userId": "a", "email": "one@example.com"},
        {"anonymousId": "b", "email": "one@example.com"},
        {"userId": "b", "event": "Invited", "properties": {"email": "one@example.com"}},
        {"userId": "b", "email": "none"},
        {"userId": "b", "traits": {"email": 7}, "context": {"traits": "one@example.com"}},
        {"userId": "b"},
    ],
)
def test_what_names_no_second_person_shares_nothing(second: dict[str, object]) -> None:
    first = _line(1, userId="a", email="one@example.com")

    assert {} == _told(first, _line(2, **second), Line(3, None, "is not valid JSON"))
