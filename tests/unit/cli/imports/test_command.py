"""`tessera import`: each row is imported, or told with its line and reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import main
from libs.errors import Invalid
from tessera.ingest.v1 import event_pb2, source_service_pb2
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tests.unit.cli.served import Served


class Ingest:
    """Takes everything but what has no user id."""

    def __init__(self) -> None:
        self.events: list[event_pb2.Event] = []
        self.batches: list[int] = []

    def create(
        self, request: source_service_pb2.CreateSourceRequest
    ) -> source_service_pb2.CreateSourceResponse:
        """Create every source."""
        return source_service_pb2.CreateSourceResponse(source=request.source)

    def take(self, request: pb.ImportEventsRequest) -> pb.ImportEventsResponse:
        """Import a batch."""
        self.batches.append(request.ByteSize())
        good = [event for event in request.events if event.user_id]
        self.events += good
        rejections = [
            pb.Rejection(index=index, field="userId", reason="is required")
            for index, event in enumerate(request.events)
            if not event.user_id
        ]
        warnings = [
            pb.Warning(index=index, field="traits_json.email", reason="is no address, and left out")
            for index, event in enumerate(request.events)
            if b"n/a" in event.traits_json
        ]
        return pb.ImportEventsResponse(accepted=len(good), rejections=rejections, warnings=warnings)


@pytest.fixture
def ingest(served: Served) -> Ingest:
    """What the command calls."""
    made = Ingest()
    served.answer("tessera.ingest.v1.SourceService", CreateSource=made.create)
    served.answer("tessera.ingest.v1.IngestService", ImportEvents=made.take)
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
