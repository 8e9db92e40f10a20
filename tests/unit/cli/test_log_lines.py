import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from cli.log_lines import LineSplitter, MergedLog, Show, open_log, parse, render

_LINE = (
    b'{"event":"batch handled","level":"info","timestamp":"2026-01-31T12:00:00.123456Z","logger":"x",'
    b'"records":7,"topic":"ingest.events"}'
)


def test_a_json_line_is_told_in_words_with_its_values() -> None:
    text = render(parse("profile", _LINE)).plain

    assert ".123 profile   batch handled  records=7  topic=ingest.events" in text
    assert "logger" not in text


def test_what_is_no_json_is_told_as_it_is() -> None:
    entry = parse("segment", b"Segmentation fault\n")

    assert "Segmentation fault" == entry["event"]
    assert "segment" == entry["service"]


def test_a_warning_says_so_and_a_traceback_stands_below() -> None:
    line = json.dumps({"event": "oops", "level": "error", "exception": "Traceback\n  File x"}).encode()
    lines = render(parse("render", line)).plain.splitlines()

    assert "ERROR oops" in lines[0]
    assert ["    Traceback", "      File x"] == lines[1:]


def test_brackets_in_a_line_are_not_taken_for_markup() -> None:
    assert "[bold]" in render(parse("x", b'{"event":"[bold]"}')).plain


@pytest.mark.parametrize(
    ("show", "expected"), [("people", "batch handled"), ("json", '"records":7'), ("nothing", "")]
)
def test_the_console_shows_what_is_asked_for_and_the_file_has_all(show: Show, expected: str) -> None:
    file, screen = io.BytesIO(), io.StringIO()
    log = MergedLog(file, Console(file=screen, width=200), show)
    log.take("profile", _LINE)

    assert expected in screen.getvalue()
    assert bool(expected) == bool(screen.getvalue())
    assert "profile" == json.loads(file.getvalue())["service"]


def test_a_library_s_routine_is_in_the_file_only() -> None:
    file, screen = io.BytesIO(), io.StringIO()
    log = MergedLog(file, Console(file=screen), "people")
    log.take("profile", b'{"event":"Running upgrade","level":"info","logger":"alembic.runtime.migration"}')

    assert "" == screen.getvalue()
    assert b"Running upgrade" in file.getvalue()


def test_last_words_are_the_errors_where_there_are_any() -> None:
    log = MergedLog(io.BytesIO(), None, "nothing")
    for level in ("info", "error", "info"):
        log.take("render", json.dumps({"event": f"an {level}", "level": level}).encode())

    assert ["an error" in line.plain for line in log.last_words("render")] == [True]
    assert [] == log.last_words("nobody")


def test_a_stream_is_cut_into_lines_wherever_it_is_read() -> None:
    lines: list[bytes] = []
    splitter = LineSplitter(lines.append)
    for piece in (b"one\ntw", b"o\n", b"three"):
        splitter.feed(piece)
    before = list(lines)
    splitter.finish()

    assert [b"one", b"two"] == before
    assert [b"one", b"two", b"three"] == lines


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "tessera.log"
    path.write_bytes(b"x" * 20_000_001)
    with open_log(path, None, "nothing") as log:
        log.say("starting")

    assert 20_000_001 == (tmp_path / "tessera.log.1").stat().st_size
    assert "starting" == json.loads(path.read_text())["event"]
