"""`tessera import`: each row is imported, or told with its line and reason."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner, Result

from cli import main
from libs.errors import Invalid
from tessera.ingest.v1 import event_pb2, ingest_service_pb2, source_service_pb2
from tessera.ingest.v1 import import_service_pb2 as pb
from tessera.operations.v1.operation_pb2 import Operation
from tests.unit.cli.served import Refusal, Served


class Ingest:
    """Takes everything but what has no user id."""

    def __init__(self) -> None:
        self.events: list[event_pb2.Event] = []
        self.batches: list[int] = []
        self.started: list[pb.StartImportRequest] = []
        self.ended: list[pb.EndImportRequest] = []
        self.done: list[int] = []
        self.cancelled_after = 1_000_000

    def start(self, request: pb.StartImportRequest) -> pb.StartImportResponse:
        """Begin an import."""
        self.started.append(request)
        return pb.StartImportResponse(operation=Operation(operation_id="op"))

    def end(self, request: pb.EndImportRequest) -> pb.EndImportResponse:
        """End one."""
        self.ended.append(request)
        return pb.EndImportResponse()

    def create(
        self, request: source_service_pb2.CreateSourceRequest
    ) -> source_service_pb2.CreateSourceResponse:
        """Create every source."""
        return source_service_pb2.CreateSourceResponse(source=request.source)

    def take(self, request: pb.ImportEventsRequest) -> pb.ImportEventsResponse:
        """Import a batch."""
        if len(self.batches) == self.cancelled_after:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "ingest.import op has ended: cancelled")
        assert request.operation_id == "op"
        self.batches.append(request.ByteSize())
        self.done.append(request.done_count)
        good = [event for event in request.events if event.user_id]
        self.events += good
        rejections = [
            ingest_service_pb2.Rejection(index=index, field="userId", reason="is required")
            for index, event in enumerate(request.events)
            if not event.user_id
        ]
        warnings = [
            ingest_service_pb2.Warning(
                index=index, field="traits_json.email", reason="is no address, and left out"
            )
            for index, event in enumerate(request.events)
            if b"n/a" in event.traits_json
        ]
        return pb.ImportEventsResponse(accepted=len(good), rejections=rejections, warnings=warnings)


@pytest.fixture
def ingest(served: Served) -> Ingest:
    """What the command calls."""
    made = Ingest()
    served.answer("tessera.ingest.v1.SourceService", CreateSource=made.create)
    served.answer(
        "tessera.ingest.v1.ImportService", StartImport=made.start, ImportEvents=made.take, EndImport=made.end
    )
    return made


def _run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main.app, ["import", str(path), *arguments])


def _summary(path: Path, *arguments: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(_run(path, "--json", *arguments).stdout)
    return summary


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A file with a fault of each kind."""
    path = tmp_path / "people.csv"
    path.write_bytes(
        b"userId,email,traits.version\n"
        b"1,ada@example.com,1.10\n"  # 2
        b'2,bob@example.com,"1\n'  # 3: never closed
        b"3,cy@example.com,M\xfcller\n"  # 4: Windows-1252
        b"4,di@example.com\n"  # 5: ragged
        b"5,eve@example.com,a\0b\n"  # 6: a zero byte
        b",fay@example.com,2\n"  # 7: refused by the server
        b"7,one@example.com,3\n"  # 8: shares its address
        b"8,one@example.com,4\n"  # 9
        b"\n"
        b"9,gus@example.com,5\n"  # 11
    )
    return path


def test_every_row_is_imported_or_told_and_the_counts_add_up(people: Path, ingest: Ingest) -> None:
    summary = _summary(people)

    assert (9, 2, 7) == (summary["lines"], summary["accepted"], summary["rejected"])
    assert [3, 4, 5, 6, 7, 8, 9] == [one["line"] for one in summary["rejections"]]
    assert ["1", "9"] == [event.user_id for event in ingest.events]
    assert b'{"version":"1.10"}' == ingest.events[0].traits_json


def test_people_are_told_what_was_not_imported_before_and_after(people: Path, ingest: Ingest) -> None:
    result = _run(people)

    assert 0 == result.exit_code
    assert "addresses that belong to several user ids in this file: 1;" in result.stderr
    assert "2 of 9 rows imported" in result.stdout
    assert "0xFC" in result.stdout


def test_two_rows_that_share_an_address_are_taken_where_that_is_said(people: Path, ingest: Ingest) -> None:
    summary = _summary(people, "--shared-addresses")

    assert (4, 5) == (summary["accepted"], summary["rejected"])


def test_a_dry_run_tells_and_sends_nothing(people: Path, ingest: Ingest) -> None:
    result = _run(people, "--dry-run")

    assert "3 of 9 rows can be imported; nothing was sent" in result.stdout
    assert [] == ingest.events


def test_columns_that_are_left_out_are_told(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "people.csv"
    path.write_text("userId;Shoe size;Hair\n1;44;red\n")

    assert ["Shoe size", "Hair"] == _summary(path)["columns_left_out"]
    assert "not imported: Shoe size, Hair" in _run(path).stderr


def test_a_consent_column_stops_the_import_before_anything_is_sent(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "people.csv"
    path.write_text("userId,Newsletter\n1,ja\n2,nein\n")
    refused = _run(path)
    map_ = ("--map", "consent.email_marketing=Newsletter", "--set", "timestamp=2026-01-31")
    told = _summary(path, *map_)
    taken = _summary(path, *map_, "--yes", "ja", "--no", "nein")

    assert isinstance(refused.exception, Invalid)
    assert (0, 2) == (told["accepted"], told["rejected"])
    assert "'ja'" in told["rejections"][0]["reason"]
    assert 2 == taken["accepted"]
    assert [True, False] == [event.consent["email_marketing"] for event in ingest.events]


def test_batches_stay_below_what_the_server_takes_at_once(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "big.jsonl"
    call = {"userId": "a", "event": "Viewed", "properties": {"text": "x" * 30_000}}
    path.write_text("".join(json.dumps(call) + "\n" for _ in range(250)))

    assert 250 == _summary(path)["accepted"]
    assert len(ingest.batches) > 1
    assert max(ingest.batches) < 4_000_000


def _history(path: Path, events: int) -> Path:
    call = {"userId": "a", "event": "Viewed"}
    path.write_text("".join(json.dumps(call | {"messageId": str(n)}) + "\n" for n in range(events)))
    return path


def test_an_import_tells_how_far_it_is_and_what_came_of_it(tmp_path: Path, ingest: Ingest) -> None:
    summary = _summary(_history(tmp_path / "history.jsonl", 2500))

    assert ("op", "import", 2500, "history.jsonl") == (
        summary["operation_id"],
        ingest.started[0].source_id,
        ingest.started[0].total_count,
        ingest.started[0].detail,
    )
    assert [0, 1000, 2000] == ingest.done
    assert [(2500, 0, "")] == [(e.accepted_count, e.rejected_count, e.failure) for e in ingest.ended]


def test_an_import_that_somebody_cancels_says_what_is_stored(tmp_path: Path, ingest: Ingest) -> None:
    ingest.cancelled_after = 1
    told = _run(_history(tmp_path / "history.jsonl", 2500))

    assert 1 == told.exit_code
    assert "has ended: cancelled\n1,000 events are stored" in str(told.exception)
    assert [(1000, "ingest.import op has ended: cancelled")] == [
        (end.accepted_count, end.failure) for end in ingest.ended
    ]


def test_json_lines_are_told_by_line_too(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"userId":"a","traits":{"email":"x@example.com"}}\r\n'
        b'{"userId":"b","traits":{"name":"M\xfcller"}}\r\n'
        b'{"userId":"c","traits":{"email":"x@example.com"},"type":"identify"}\r\n'
        b'{"userId":"d"\r\n'
        b'{"userId":"e","event":"Bought"}'
    )
    summary = _summary(path)

    assert (5, 1, 4) == (summary["lines"], summary["accepted"], summary["rejected"])
    assert [1, 2, 3, 4] == [one["line"] for one in summary["rejections"]]
    assert "0xFC" in summary["rejections"][1]["reason"]


def test_what_is_left_out_of_a_row_is_told_with_its_line(tmp_path: Path, ingest: Ingest) -> None:
    path = tmp_path / "people.csv"
    path.write_text("userId,traits.email\n1,ada@example.com\n2,n/a\n")
    summary = _summary(path)

    assert (2, 2, 0, 1) == (summary["lines"], summary["accepted"], summary["rejected"], summary["warned"])
    assert [{"line": 3, "reason": "traits.email: is no address, and left out"}] == summary["warnings"]
    assert "1 imported, but not whole" in _run(path).stdout


def test_numbers_that_stay_texts_are_told_with_what_makes_them_numbers(
    tmp_path: Path, ingest: Ingest
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "userId,event,properties.revenue,properties.size,properties.zip,traits.age\n"
        "1,Order,12.50,40,00118,7\n2,Order,,XL,10115,8\n"
    )
    told = _run(path).stderr
    typed = _run(path, "--type", "properties.revenue=number").stderr

    assert (
        "numbers that stay texts: properties.revenue; sums need numbers: --type properties.revenue=number"
        in told
    )
    assert "stay texts" not in typed


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_what_a_line_can_do_without_is_told_with_its_line(
    tmp_path: Path, ingest: Ingest, arguments: tuple[str, ...]
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"userId":"1"}\n{"userId":"2","anonymousId":false}\n')
    summary = _summary(path, *arguments)

    assert (2, 0, 1) == (summary["accepted"], summary["rejected"], summary["warned"])
    assert 2 == summary["warnings"][0]["line"]
    assert summary["warnings"][0]["reason"].startswith("anonymousId: ")
