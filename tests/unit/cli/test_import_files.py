import gzip
import io
from pathlib import Path

import orjson
import pytest

from cli.import_files import Mapped, csv_lines, header_of, is_csv, json_lines, mapping, open_file
from libs.errors import Invalid, NotFound
from tessera.ingest.v1.event_pb2 import EVENT_TYPE_IDENTIFY, EVENT_TYPE_TRACK

_ORDER = (
    b'{"type":"track","userId":7,"event":"Order","timestamp":"2025-01-31T12:00:00Z",'
    b'"properties":{"revenue":1.5}}\n'
)


def test_a_segment_call_becomes_an_event() -> None:
    (line,) = json_lines(io.BytesIO(_ORDER), "f")

    assert line.event is not None
    assert EVENT_TYPE_TRACK == line.event.type
    assert "7" == line.event.user_id
    assert "Order" == line.event.name
    assert 1738324800 == line.event.timestamp.seconds
    assert {"revenue": 1.5} == orjson.loads(line.event.properties_json)


def test_a_line_without_an_id_has_the_same_one_each_time_and_no_other_has_it() -> None:
    once = [line.event.message_id for line in json_lines(io.BytesIO(_ORDER * 2), "f") if line.event]
    again = [line.event.message_id for line in json_lines(io.BytesIO(_ORDER * 2), "f") if line.event]
    (elsewhere,) = [line.event.message_id for line in json_lines(io.BytesIO(_ORDER), "g") if line.event]

    assert once == again
    assert 3 == len({*once, elsewhere})
    assert len(elsewhere) <= 100


def test_an_id_of_the_caller_s_is_kept() -> None:
    (line,) = json_lines(io.BytesIO(b'{"userId":"a","messageId":"m-1"}'), "f")

    assert line.event is not None
    assert "m-1" == line.event.message_id


@pytest.mark.parametrize(
    ("raw", "problem"),
    [(b"not json", "is not valid JSON"), (b"[1]", "no JSON object"), (b'{"type":"buy"}', "is none of")],
)
def test_a_wrong_line_is_told_by_its_number_and_the_rest_goes_on(raw: bytes, problem: str) -> None:
    first, second = json_lines(io.BytesIO(raw + b"\n\n" + _ORDER), "f")

    assert (1, None) == (first.number, first.event)
    assert problem in first.problem
    assert 3 == second.number
    assert second.event is not None


def test_a_wrong_time_is_no_event() -> None:
    (line,) = json_lines(io.BytesIO(b'{"userId":"a","timestamp":"yesterday"}'), "f")

    assert line.event is None
    assert "ISO 8601" in line.problem


def test_columns_become_a_call_by_their_mapping() -> None:
    file = io.BytesIO("\ufeffid,Date,Total,traits.plan\n42,2025-01-31T12:00:00,12.50,gold\n".encode())
    mapped = mapping(
        ["id", "Date", "Total", "traits.plan"],
        ["userId=id", "timestamp=Date", "properties.revenue=Total"],
        ["event=Order Completed"],
    )
    (line,) = csv_lines(file, "f", mapped)

    assert line.event is not None
    assert EVENT_TYPE_TRACK == line.event.type
    assert ("42", "Order Completed") == (line.event.user_id, line.event.name)
    assert {"revenue": 12.5} == orjson.loads(line.event.properties_json)
    assert {"plan": "gold"} == orjson.loads(line.event.traits_json)


def test_people_without_an_event_are_identified() -> None:
    (line,) = csv_lines(io.BytesIO(b"userId,traits.zip,traits.vip\na,01234,true\n"), "f", Mapped(
        {"userId": "userId", "traits.zip": "traits.zip", "traits.vip": "traits.vip"}, {}
    ))  # fmt: skip

    assert line.event is not None
    assert EVENT_TYPE_IDENTIFY == line.event.type
    assert {"zip": "01234", "vip": True} == orjson.loads(line.event.traits_json)


def test_a_mapping_must_say_who_it_was() -> None:
    with pytest.raises(Invalid, match="--map userId=Customer"):
        mapping(["Customer"], [], [])


@pytest.mark.parametrize("text", ["userId", "userId=", "colour=Customer", "userId=Client"])
def test_a_wrong_mapping_is_explained(text: str) -> None:
    with pytest.raises(Invalid, match="--map"):
        mapping(["Customer"], [text], [])


def test_a_file_is_unpacked_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "people.csv.gz"
    path.write_bytes(gzip.compress(b"userId,event\na,b\n"))
    with open_file(path) as (_, file):
        content = file.read()

    assert is_csv(path)
    assert not is_csv(tmp_path / "x.jsonl.gz")
    assert b"userId,event\na,b\n" == content
    assert ["userId", "event"] == header_of(path)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"), open_file(tmp_path / "none.jsonl"):
        pass
