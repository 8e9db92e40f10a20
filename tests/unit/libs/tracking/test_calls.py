"""Segment's JSON as the SDKs send it, and as nobody should."""

import pytest

from libs.errors import Invalid
from libs.tracking.calls import Batch, Call, decode_batch, decode_call


def _call(body: bytes, kind: str = "", context: bytes = b"") -> Call:
    return decode_call(body, kind, Batch((), context=context))


def _problem(body: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        decode_call(body)
    return caught.value.field


def test_a_call_is_read_by_its_type_or_by_its_endpoint() -> None:
    body = b'{"event":"Bought","name":"Home","userId":7,"anonymousId":null,"messageId":"m","unknown":[1]}'

    assert "Bought" == _call(body, "track").name
    assert "Home" == _call(body, "page").name
    assert ("7", None) == (_call(body, "track").user_id, _call(body, "track").anonymous_id)


def test_a_user_id_keeps_every_digit() -> None:
    assert "123456789012345678901234567890" == _call(b'{"userId":123456789012345678901234567890}').user_id


def test_of_a_name_that_stands_twice_the_last_one_counts() -> None:
    assert "2" == _call(b'{"userId":"1","userId":"2"}').user_id


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-01-31T12:00:00.123456Z", 1769860800123456),
        ("2026-01-31T12:00:00.123Z", 1769860800123000),
        ("2026-01-31T13:00:00+01:00", 1769860800000000),
        ("2026-01-31T12:00:00", 1769860800000000),
        ("1969-12-31T23:59:59Z", -1000000),
    ],
)
def test_times_are_iso_8601(text: str, micros: int) -> None:
    assert micros == _call(b'{"timestamp":"%b"}' % text.encode()).time


def test_the_original_timestamp_goes_before_the_corrected_one() -> None:
    body = b'{"timestamp":"2026-01-01T00:00:00Z","originalTimestamp":"1970-01-01T00:00:01Z"}'

    assert 1_000_000 == _call(body).time


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("body", b"nothing"),
        ("body", b"[]"),
        ("body", b"\xff"),
        ("body", b'{"userId":"\\ud800"}'),
        ("body", b'{"properties":' + b"[" * 9000 + b"]" * 9000 + b"}"),
        ("userId", b'{"userId":' + b"9" * 5000 + b"}"),
        ("userId", b'{"userId":1.5}'),
        ("userId", b'{"userId":true}'),
        ("event", b'{"event":1}'),
        ("timestamp", b'{"timestamp":"yesterday"}'),
        ("timestamp", b'{"timestamp":1700000000}'),
    ],
)
def test_a_call_that_cannot_be_read_is_refused_by_the_name_of_the_field(field: str, body: bytes) -> None:
    assert field == _problem(body)


def test_the_batchs_context_lies_below_each_events_own_and_keeps_every_digit() -> None:
    below = b'{"ip":"1.2.3.4","big":18446744073709551617}'
    event = _call(b'{"userId":"1","context":{"ip":"5.6.7.8"}}', context=below)

    assert b'{"ip":"5.6.7.8","big":18446744073709551617}' == event.context


def test_a_context_that_is_no_object_is_left_to_the_checks() -> None:
    assert b"[1]" == _call(b'{"context":[1]}', context=b'{"a":1}').context
    assert b"[1]" == _call(b'{"context":{"b":1}}', context=b"[1]").context


def test_traits_in_the_context_are_an_identifys_traits_digit_for_digit() -> None:
    body = b'{"type":"identify","context":{"traits":{"n":18446744073709551617,"p":1.10}}}'

    assert b'{"n":18446744073709551617,"p":1.10}' == _call(body).traits
    assert b"" == _call(body.replace(b"identify", b"track")).traits


def test_traits_of_its_own_go_before_those_in_the_context() -> None:
    body = b'{"type":"identify","traits":{"a":1},"context":{"traits":{"b":2}}}'

    assert b'{"a":1}' == _call(body).traits


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"batch":1}', b'{"batch":[' + b"[" * 100_000])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_batch(body)
