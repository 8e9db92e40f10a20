"""Records travel on Kafka as CloudEvents and come back whole."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.messaging import cloud_events
from libs.messaging.cloud_events import Header

_OURS = {"ce_id", "ce_source", "ce_type", "ce_specversion", "ce_time", "content-type", "tessera-number"}
_SOURCE = cloud_events.source_of("tessera", "profile")


def _message(headers: list[Header]) -> SimpleNamespace:
    return SimpleNamespace(
        partition=3, offset=7, key=b"k", value=b"v", headers=tuple(headers), timestamp=1_700_000_000_123
    )


@given(
    type_=st.text(max_size=30),
    time=st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
    headers=st.dictionaries(st.text(max_size=9).filter(lambda name: name not in _OURS), st.text(max_size=9)),
    number=st.none() | st.integers(0, 2**62),
)
def test_attributes_come_back_as_they_were(
    type_: str, time: int, headers: dict[str, str], number: int | None
) -> None:
    encoded = cloud_events.encode("id", _SOURCE, type_, time, headers, number)
    record = cloud_events.decode("topic", _message(encoded))

    assert (type_, time, headers, number) == (record.type, record.time, record.headers, record.number)
    assert ("topic", 3, 7, b"k", b"v") == (
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
    )


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        (b"2023-11-14T22:13:20Z", 1_700_000_000_000_000),
        (b"2023-11-14T22:13:20.5Z", 1_700_000_000_500_000),
        (b"2023-11-14T23:13:20.000001+01:00", 1_700_000_000_000_001),
    ],
)
def test_times_of_other_producers_are_understood(text: bytes, micros: int) -> None:
    assert micros == cloud_events.decode("topic", _message([("ce_time", text)])).time


def test_without_a_time_the_brokers_counts() -> None:
    assert 1_700_000_000_123_000 == cloud_events.decode("topic", _message([])).time
