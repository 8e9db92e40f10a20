from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.replay import timeline
from cli.replay.call import SourcedCall, time_of, to_timestamp
from libs.errors import Invalid

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
_moments = st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


def _call(number: int, moment: datetime = NOW, source: str = "backend", text: str = "") -> SourcedCall:
    properties = {"text": text}
    call = {"type": "track", "messageId": f"m-{number}", "userId": "u", "event": "Seen"}
    return source, {**call, "properties": properties, "timestamp": to_timestamp(moment)}


@st.composite
def _histories(draw: st.DrawFn) -> list[SourcedCall]:
    drawn = draw(st.lists(st.tuples(_moments, st.sampled_from(["website", "backend"]), st.text(max_size=30))))
    return [_call(number, *parts) for number, parts in enumerate(drawn)]


@given(last=_moments, now=_moments)
def test_a_shifted_history_ends_within_the_week_before_now(last: datetime, now: datetime) -> None:
    moved = last + timedelta(weeks=timeline.weeks_to_shift(last, now))

    assert now - timedelta(weeks=1) < moved <= now


@given(history=_histories(), weeks=st.integers(-50, 50))
def test_a_shift_moves_every_call_alike_and_nothing_else(history: list[SourcedCall], weeks: int) -> None:
    shifted = list(timeline.shift_by_whole_weeks(history, weeks))

    assert len(history) == len(shifted)
    for (source, call), (shifted_source, shifted_call) in zip(history, shifted, strict=True):
        assert source == shifted_source
        assert time_of(call) + timedelta(weeks=weeks) == time_of(shifted_call)
        assert call == {**shifted_call, "timestamp": call["timestamp"]}


@given(history=_histories(), count=st.integers(0, 40))
def test_what_is_held_back_is_the_end_of_the_history(history: list[SourcedCall], count: int) -> None:
    earlier, held = timeline.hold_back(iter(history), count)
    sent = list(earlier)

    assert history == sent + list(held)
    assert min(count, len(history)) == len(held)


def test_holding_back_reads_no_further_than_it_must() -> None:
    history = iter([_call(number) for number in range(10)])
    earlier, _ = timeline.hold_back(history, 3)
    next(earlier)

    assert 6 == len(list(history))


def test_fewer_than_no_calls_cannot_be_held_back() -> None:
    with pytest.raises(Invalid):
        timeline.hold_back([], -1)


@given(history=_histories(), seconds=st.floats(0, 3600))
def test_restamped_calls_keep_their_order_and_end_now(history: list[SourcedCall], seconds: float) -> None:
    live = timeline.restamp(history, NOW, seconds)
    times = [time_of(call) for _, call in live]

    assert [call["messageId"] for _, call in history] == [call["messageId"] for _, call in live]
    assert sorted(times) == times
    assert [NOW] == times[-1:] or not history
    assert all(NOW - timedelta(seconds=seconds + 0.001) <= time for time in times)


@given(history=_histories(), max_count=st.integers(1, 7))
def test_no_call_is_lost_in_batches_and_each_source_keeps_its_order(
    history: list[SourcedCall], max_count: int
) -> None:
    packed: dict[str, list[object]] = {"website": [], "backend": []}
    for batch in timeline.batches(history, max_count):
        body = orjson.loads(batch.body)
        assert {"batch"} == set(body)
        assert 1 <= len(body["batch"]) == batch.count <= max_count
        packed[batch.source] += body["batch"]

    for source, calls in packed.items():
        assert [call for of, call in history if of == source] == calls


@given(sizes=st.lists(st.integers(0, 32_000), max_size=60), max_bytes=st.integers(40_000, 500_000))
def test_a_batch_is_never_larger_than_allowed(sizes: list[int], max_bytes: int) -> None:
    history = [_call(number, text="x" * size) for number, size in enumerate(sizes)]
    packed = list(timeline.batches(history, max_bytes=max_bytes))

    assert len(sizes) == sum(batch.count for batch in packed)
    assert all(len(batch.body) <= max_bytes for batch in packed)


def test_no_source_runs_ahead_of_another_by_more_than_a_batch() -> None:
    history = [_call(0, source="backend")] + [_call(number, source="website") for number in range(1, 12)]
    packed = list(timeline.batches(history, max_count=5))

    assert [("backend", 1), ("website", 5), ("website", 5), ("website", 1)] == [
        (batch.source, batch.count) for batch in packed
    ]


def test_a_call_that_is_too_large_is_named() -> None:
    history = [_call(1), _call(2, text="x" * 40_000)]

    with pytest.raises(Invalid, match="m-2"):
        list(timeline.batches(history))


@pytest.mark.parametrize(("max_count", "max_bytes"), [(0, 450_000), (500, 32_768), (500, 500_001)])
def test_limits_that_cannot_be_kept_are_refused(max_count: int, max_bytes: int) -> None:
    with pytest.raises(Invalid):
        list(timeline.batches([], max_count, max_bytes))
