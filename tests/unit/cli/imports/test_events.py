import io
from pathlib import Path

import orjson
import pytest

from cli.imports.columns import Asked
from cli.imports.events import Line, json_lines, open_table
from cli.imports.files import open_file
from libs.errors import Invalid
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
    [(b"not json", "is not valid JSON"), (b"[1]", "Expected `object`"), (b'{"type":"buy"}', "is none of")],
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


def _imported(path: Path, *maps: str, **asked: list[str]) -> list[Line]:
    opened = open_table(path, Asked(maps=maps, **asked))
    with open_file(path) as (_, file):
        return list(opened.lines(file, path.name))


def test_columns_become_a_call_by_their_mapping(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("\ufeffid,Date,Total,traits.plan\n42,2025-01-31T12:00:00,12.50,gold\n")
    maps = ("userId=id", "timestamp=Date", "properties.revenue=Total")
    (line,) = _imported(path, *maps, sets=["event=Order Completed"], types=["properties.revenue=number"])

    assert line.event is not None
    assert EVENT_TYPE_TRACK == line.event.type
    assert ("42", "Order Completed") == (line.event.user_id, line.event.name)
    assert 1738324800 == line.event.timestamp.seconds
    assert b'{"revenue":12.50}' == line.event.properties_json
    assert {"plan": "gold"} == orjson.loads(line.event.traits_json)


def test_people_without_an_event_are_identified_with_their_consent(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("userId,traits.zip,timestamp,consent.email_marketing\na,01234,2026-01-31,no\n")
    (line,) = _imported(path)

    assert line.event is not None
    assert EVENT_TYPE_IDENTIFY == line.event.type
    assert {"zip": "01234"} == orjson.loads(line.event.traits_json)
    assert {"email_marketing": False} == dict(line.event.consent)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_whatever_its_mark_its_ends_and_its_separators(
    tmp_path: Path, encoding: str, end: str, delimiter: str
) -> None:
    path = tmp_path / "people.csv"
    rows = (["userId", "traits.name"], ["1", "Zoë"], ["2", '"Ann, Lee; Jr."'], ["3", "Bo"])
    path.write_bytes("".join(delimiter.join(row) + end for row in rows).encode(encoding))
    found = _imported(path)

    assert [""] * 3 == [line.problem for line in found]
    assert [{"name": "Zoë"}, {"name": "Ann, Lee; Jr."}, {"name": "Bo"}] == [
        orjson.loads(line.event.traits_json) for line in found if line.event
    ]


def test_excel_s_line_that_names_the_separator_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("sep=;\nuserId;traits.name\n1;a,b,c\n")
    (line,) = _imported(path)

    assert 3 == line.number
    assert line.event is not None
    assert {"name": "a,b,c"} == orjson.loads(line.event.traits_json)


@pytest.mark.parametrize(("content", "problem"), [
    (b"", "is empty"), (b"\n \n", "is empty"), (b"user\xfcId,email\n", "line 1.*0xFC"),
    ("userId,a\n1,2\n".encode("utf-16-le"), "utf-16-le"), (b'userId,"a\n1,2\n', "line 1.*never closed"),
])  # fmt: skip
def test_a_table_whose_first_line_can_t_be_read_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    with pytest.raises(Invalid, match=problem):
        open_table(path, Asked())


def test_a_row_keeps_its_id_when_another_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('userId,traits.name\n1,"Ada\n2,Bob\n')
    before = {line.number: line.event.message_id for line in _imported(path) if line.event}
    path.write_text("userId,traits.name\n1,Ada\n2,Bob\n")
    after = {line.number: line.event.message_id for line in _imported(path) if line.event}

    assert {3} == before.keys()
    assert {2, 3} == after.keys()
    assert before[3] == after[3]


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1e999999999", b"9" * 400], ids=["e400", "e999999999", "digits"]
)
@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"userId":"1","traits":{"n":%b}}', "traits"),
        (b'{"userId":"1","event":"Order","properties":{"a":[%b]}}', "properties"),
        (b'{"userId":"1","event":"Order","context":{"traits":{"n":%b}}}', "context"),
    ],
)
def test_a_number_that_nothing_can_hold_costs_its_line_alone(number: bytes, line: bytes, field: str) -> None:
    bad, good = json_lines(io.BytesIO(line % number + b"\n" + _ORDER), "f")

    assert (1, None) == (bad.number, bad.event)
    assert bad.problem.startswith(f"{field}: is not valid JSON")
    assert good.event is not None


def test_a_number_that_nothing_can_hold_costs_its_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("userId,traits.z\n1,1e999999999\n2,7\n")
    bad, good = _imported(path, types=["traits.z=number"])

    assert (2, None) == (bad.number, bad.event)
    assert "traits: is not valid JSON" in bad.problem
    assert good.event is not None


@pytest.mark.parametrize("text", ["1.23457E+11", "1,23457E+11", "4E+12", "9.1e+15"])
@pytest.mark.parametrize("name", ["userId", "anonymousId", "messageId"])
def test_an_id_that_a_spreadsheet_has_rounded_costs_its_row(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f"Kunde;{name};email\n1;{text};a@example.com\n2;7;b@example.com\n")
    bad, good = _imported(path, sets=["timestamp=2026-01-31"])
    raw = b'{"email":"a@example.com","%b":"%b"}' % (name.encode(), text.encode())
    (line,) = json_lines(io.BytesIO(raw), "f")

    assert (2, None, None) == (bad.number, bad.event, line.event)
    assert bad.problem.startswith(f"{name}: {text}")
    assert "as text" in bad.problem
    assert good.event is not None


@pytest.mark.parametrize("text", ["1E11", "E+11", "ada+1@example.com", "12E+3x", "1.2.3E+11"])
def test_an_id_that_only_looks_a_little_like_a_rounded_one_is_taken(text: str) -> None:
    (line,) = json_lines(io.BytesIO(b'{"userId":"%b"}' % text.encode()), "f")

    assert line.event is not None


def test_consent_beside_the_context_of_a_line_is_read() -> None:
    lines = list(
        json_lines(
            io.BytesIO(
                b'{"userId":"1","consent":{"email_marketing":false}}\n'
                b'{"userId":"2","consent":{"email_marketing":true}}\n'
                b'{"userId":"3","consent":{"email_marketing":true},"timestamp":"2026-01-31"}\n'
                b'{"userId":"4","context":{"consent":{"categoryPreferences":{"ads":true}}}}\n'
                b'{"userId":"5","consent":' + b'{"a":' * 900 + b"true" + b"}" * 900 + b"}\n"
                b'{"userId":"6","context":{"consent":"all"}}\n'
            ),
            "f",
        )
    )

    assert ["1", "3", "5", "6"] == [line.event.user_id for line in lines if line.event]
    assert [2, 4] == [line.number for line in lines if "timestamp: is missing" in line.problem]
    assert lines[0].event is not None
    assert {"consent": {"email_marketing": False}} == orjson.loads(lines[0].event.context_json)


def test_what_a_line_s_event_lacks_is_known() -> None:
    (line,) = json_lines(io.BytesIO(b'{"userId":"1","anonymousId":[],"channel":7,"messageId":5}'), "f")

    assert line.event is not None
    assert "5" == line.event.message_id
    assert ["anonymousId", "channel"] == [one.field for one in line.left_out]
