import io
from pathlib import Path

import orjson
from rich.console import Console

from cli.demo.journey import Hop, Journey, choose, hops
from cli.demo.report import Report, show
from tessera.render.v1.message_pb2 import DeliveryState, Message

_JOURNEY = Journey(
    profile_id="p",
    identifiers=[("user id", "u-1"), ("email", "ada@example.com")],
    event_count=12,
    events=[("2026-01-31 12:00:00", "Product Added", "Lantern")],
    cause="cart-abandoned-live",
    segments=["newcomers"],
    recommendations=[("Teapot", "similar")],
    model_version=1,
    message_id="m",
    subject="Lantern [is] waiting",
    to="ada@example.com",
    campaign_id="cart",
    template="cart version 1",
    delivery="acknowledged",
    latency_seconds=0.25,
    hops=[Hop("ingest", "store", 0.0, 0.002)],
)


def _printed(report: Report) -> str:
    file = io.StringIO()
    show(report, Console(file=file, width=100))
    return file.getvalue()


def test_the_report_tells_figures_and_one_story() -> None:
    report = Report("sample shop", "/home", 1200, live_events=200, applied_seconds=2.0, profiles=3)
    report.segments, report.messages, report.delivered = {"lapsed": 1438}, {"rendered": 3, "missed": 1}, 3
    report.journey = _JOURNEY
    text = _printed(report)

    assert "1,200 accepted" in text
    assert "500/s end to end" in text
    assert "lapsed 1,438" in text
    assert "rendered 3, missed 1; 3 delivered" in text
    assert "Product Added  Lantern" in text
    assert "Lantern [is] waiting" in text
    assert "ingest    store  +0 ms, took 2.0 ms" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_problem_is_told_and_makes_it_a_failure() -> None:
    report = Report("sample shop", "/home", problems=["no message came out"])

    assert not report.succeeded
    assert "problem: no message came out" in _printed(report)


def test_the_report_is_json_for_scripts() -> None:
    report = Report("sample shop", "/home", events_accepted=100, applied_seconds=1.0, journey=_JOURNEY)
    plain = orjson.loads(orjson.dumps(report.as_json()))

    assert 100 == plain["events_per_second"]
    assert plain["succeeded"]
    assert "cart" == plain["journey"]["campaign_id"]


def test_times_that_were_moved_are_told_in_words_and_to_scripts() -> None:
    moved = Report("Online Retail", "/home", profiles=3, shift_weeks=781)

    assert "moved by 781 weeks" in _printed(moved)
    assert 781 == moved.as_json()["shift_weeks"]
    assert "weeks" not in _printed(Report("sample shop", "/home", profiles=3))


def test_the_story_that_is_told_is_of_a_delivered_and_traced_message() -> None:
    acknowledged = DeliveryState.DELIVERY_STATE_ACKNOWLEDGED
    plain = Message(message_id="a", cause_id=b"1", delivery_state=acknowledged, model_version=1)
    traced = Message(message_id="b", cause_id=b"2", delivery_state=acknowledged)

    assert traced == choose([plain, traced], {b"2": "trace"})
    assert plain == choose([plain, traced], {})
    assert choose([], {}) is None


def test_the_hops_of_a_trace_are_in_the_order_of_their_starts(tmp_path: Path) -> None:
    spans = tmp_path / "spans.jsonl"
    lines = [
        {"service": "profile", "name": "apply", "trace_id": "t", "start_ns": 5_000_000, "seconds": 0.01},
        {"service": "ingest", "name": "store", "trace_id": "t", "start_ns": 1_000_000, "seconds": 0.002},
        {"service": "ingest", "name": "store", "trace_id": "other", "start_ns": 0, "seconds": 0.002},
    ]
    spans.write_bytes(b"\n".join(orjson.dumps(line) for line in lines))

    assert [Hop("ingest", "store", 0.0, 0.002), Hop("profile", "apply", 0.004, 0.01)] == hops(spans, "t")
    assert [] == hops(tmp_path / "none", "t")
