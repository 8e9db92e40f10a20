"""Batches of which an item is no JSON."""

import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Invalid
from libs.tracking import splitting
from libs.tracking.calls import decode_batch, message_id_of, write_key_of

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(_JSON, max_size=6))
def test_an_array_splits_into_what_it_was_made_of(values: list[object]) -> None:
    assert values == [orjson.loads(item) for item in splitting.items(orjson.dumps(values))]


@given(st.dictionaries(st.text(max_size=6), _JSON, max_size=6))
def test_an_object_splits_into_its_members(values: dict[str, object]) -> None:
    members = splitting.members(orjson.dumps(values, option=orjson.OPT_INDENT_2))

    assert values == {name: orjson.loads(raw) for name, raw in members.items()}


@given(st.binary(max_size=60))
def test_whatever_is_sent_it_splits_or_says_that_it_does_not(raw: bytes) -> None:
    for split in (splitting.items, splitting.members):
        try:
            split(raw)  # type: ignore[operator]
        except splitting.Unsplittable:
            continue


@pytest.mark.parametrize("inner", [b'"' + b'\\"' * 250_000, b"[" * 500_000, b"[]," * 166_000, b'"' * 500_000])
def test_what_only_wants_to_keep_us_busy_does_not(inner: bytes) -> None:
    started = time.process_time()
    with pytest.raises(Invalid):
        decode_batch(b'{"batch":[\x01' + inner)

    assert time.process_time() - started < 5


def test_what_counts_for_all_is_read_beside_an_item_that_is_none() -> None:
    body = b'{"sentAt":"2026-01-01","writeKey":"k","context":{"a":1},"batch":[NaN,{"x":[1,2]}],"batch":[NaN]}'
    batch = decode_batch(body)

    assert ([b"NaN"], "2026-01-01", "k", b'{"a":1}') == (
        batch.calls,
        batch.sent_at,
        batch.write_key,
        batch.context,
    )


@pytest.mark.parametrize("body", [b'{"batch":[{"a":]}', b'{"batch":["', b'{"batch":[1]} x', b'{"batch":NaN}'])
def test_where_nobody_can_tell_what_belongs_where_the_whole_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_batch(body)


def test_a_message_id_and_a_key_are_read_of_what_is_no_json() -> None:
    assert "m" == message_id_of(b'{"messageId":"m","x":NaN}')
    assert "" == message_id_of(b'{"messageId":7,"x":NaN}') == message_id_of(b"[NaN]")
    assert "k" == write_key_of(b'{"writeKey":"k","x":NaN}')
    assert "k" == write_key_of(b'\xef\xbb\xbf{"writeKey":"k"}')
