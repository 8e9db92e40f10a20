"""Traceparents, and where there are spans."""

import json
import random
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, StatusCode

from libs.observability import configure_traces, stop_traces, traces

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-2] + "00"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    configure_traces("profile", "", 0, exporter=exporter)
    return exporter


def test_a_new_traceparent_is_well_formed_and_says_whether_it_is_sampled() -> None:
    sampled, unsampled = traces.new_traceparent(True), traces.new_traceparent(False)

    assert traces.is_sampled(sampled)
    assert not traces.is_sampled(unsampled)
    assert 55 == len(sampled) == len(unsampled)
    assert sampled[:35] != traces.new_traceparent(True)[:35]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        SAMPLED.upper(),
        SAMPLED + "0",
        SAMPLED[:-1],
        "ff" + SAMPLED[2:],
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        UNSAMPLED,
    ],
)
def test_what_is_no_sampled_traceparent_has_no_spans(spans: InMemorySpanExporter, text: str | None) -> None:
    with traces.span("work", text) as span:
        pass

    assert not traces.is_sampled(text)
    assert span is INVALID_SPAN
    assert () == spans.get_finished_spans()


def test_a_sampled_trace_has_a_span_and_hands_itself_on(spans: InMemorySpanExporter) -> None:
    with traces.span("outer", SAMPLED, records=3):
        handed_on = traces.current_traceparent()
        with traces.span("inner"):
            pass
    inner, outer = spans.get_finished_spans()

    assert outer.parent
    assert inner.parent
    assert outer.context
    assert ("outer", {"records": 3}) == (outer.name, dict(outer.attributes or {}))
    assert 0xB7AD6B7169203331 == outer.parent.span_id
    assert outer.context.span_id == inner.parent.span_id
    assert f"00-{outer.context.trace_id:032x}-{outer.context.span_id:016x}-01" == handed_on
    assert SAMPLED[:35] == (handed_on or "")[:35]
    assert traces.current_traceparent() is None


def test_a_failure_marks_the_span(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="wrong"), traces.span("work", SAMPLED):
        raise ValueError("wrong")
    (span,) = spans.get_finished_spans()

    assert (StatusCode.ERROR, "ValueError") == (span.status.status_code, span.status.description)


def test_an_unsampled_trace_is_carried_on(spans: InMemorySpanExporter) -> None:
    with traces.span("outer", UNSAMPLED), traces.span("inner"):
        assert UNSAMPLED == traces.current_traceparent()


def test_without_configuration_a_trace_is_carried_on_all_the_same() -> None:
    with traces.span("outer", SAMPLED) as span:
        assert SAMPLED == traces.current_traceparent()
        assert span is INVALID_SPAN
    with traces.span("outer"):
        assert traces.current_traceparent() is None


@pytest.mark.parametrize(("ratio", "recorded"), [(0, 0), (1, 2)])
def test_a_trace_that_begins_here_is_sampled_by_the_ratio(ratio: float, recorded: int) -> None:
    exporter = InMemorySpanExporter()
    configure_traces("profile", "", ratio, exporter=exporter)
    with traces.span("outer"):
        begun = traces.current_traceparent()
        with traces.span("inner"):
            pass

    assert recorded == len(exporter.get_finished_spans())
    assert bool(recorded) is traces.is_sampled(begun)
    assert begun


def test_the_ratio_decides_with_the_callers_dice() -> None:
    configure_traces("ingest", "", 0.25)
    rng = random.Random(1)
    drawn = sum(traces.should_sample(rng) for _ in range(10_000))

    assert 2300 < drawn < 2700


def test_nothing_is_sampled_before_it_is_configured() -> None:
    assert not traces.should_sample(random.Random(1))


def test_spans_can_go_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "spans.jsonl"
    configure_traces("ingest", f"file://{path}", 1)
    with traces.span("outer", SAMPLED, records=3), traces.span("inner"):
        pass
    stop_traces()
    inner, outer = [json.loads(line) for line in path.read_text().splitlines()]

    assert {
        "service": "ingest",
        "name": "outer",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "parent_id": "b7ad6b7169203331",
        "status": "UNSET",
        "attributes": {"records": 3},
    }.items() <= outer.items()
    assert outer["span_id"] == inner["parent_id"]
    assert 0 <= inner["seconds"] <= outer["seconds"] < 5
