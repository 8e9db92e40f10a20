"""Batches of profile's updates, and what is new or missing in them."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Invalid
from libs.messaging.records import Received
from libs.profile_feed import CLOCK, UPDATED, feed_of, has_gap, step_of, unseen
from libs.times import timestamp
from tessera.profile.v1 import profile_events_pb2

ADA = "00000000-0000-0000-0000-00000000000a"


@dataclass(frozen=True)
class Told:
    revision: int
    copy: int = 0


@given(st.integers(0, 6), st.lists(st.integers(1, 12), max_size=12))
def test_what_is_unseen_comes_in_order_and_once_and_a_gap_is_noticed(revision: int, told: list[int]) -> None:
    fresh = unseen([Told(number, copy) for copy, number in enumerate(told)], revision)
    wanted = sorted({number for number in told if number > revision})

    assert wanted == [step.revision for step in fresh]
    assert all(step.copy == told.index(step.revision) for step in fresh)
    assert has_gap(fresh, revision) == (bool(wanted) and wanted != list(range(revision + 1, wanted[-1] + 1)))


def _record(kind: str, value: bytes, key: str = "", partition: int = 0, trace: str = "") -> Received:
    headers = {"traceparent": trace} if trace else {}
    return Received("profile.updates", partition, 0, key.encode(), kind, value, 0, headers)


def test_a_batch_is_sorted_by_people_and_partitions() -> None:
    clocks = [profile_events_pb2.ClockAdvanced(time=timestamp(at)).SerializeToString() for at in (7, 5)]
    feed = feed_of(
        [
            _record(UPDATED, b"one", ADA, trace="t1"),
            _record(CLOCK, clocks[0], partition=3),
            _record("tessera.profile.v1.SomethingToCome", b"?", "nobody"),
            _record(UPDATED, b"two", ADA),
            _record(CLOCK, clocks[1], partition=3),
        ]
    )

    assert ({ADA: [b"one", b"two"]}, {3: 7}, {ADA: "t1"}) == (feed.steps, feed.clocks, feed.traces)


def test_a_record_that_names_nobody_or_cannot_be_read_is_invalid() -> None:
    for record in (_record(UPDATED, b"", "nobody"), _record(UPDATED, b""), _record(CLOCK, b"\xff")):
        with pytest.raises(Invalid):
            feed_of([record])
    with pytest.raises(Invalid):
        step_of(b"\xff")
