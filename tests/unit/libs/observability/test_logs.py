"""What a log line looks like, and which lines are held back."""

import logging
from datetime import datetime
from typing import Any

import pytest
import structlog

from libs.observability import configure_logs
from libs.observability.logs import RateLimit
from libs.repeats import Repeats
from tessera.profile.v1 import profile_pb2


def test_a_line_is_json_with_its_context(lines: Any) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("services.profile").info("batch handled", records=3, key=b"\xff", by={1: 2})
    (line,) = lines()

    assert {
        "event": "batch handled",
        "level": "info",
        "logger": "services.profile",
        "service": "profile",
        "request_id": "r1",
        "records": 3,
        "key": "b'\\xff'",
        "by": {"1": 2},
    } == {key: value for key, value in line.items() if key != "timestamp"}
    assert datetime.fromisoformat(line["timestamp"]).tzinfo


def test_the_standard_librarys_loggers_write_the_same_lines(lines: Any) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logging.getLogger("alembic.runtime").warning("at revision %s", "0001")
    (line,) = lines()

    assert {
        "event": "at revision 0001",
        "level": "warning",
        "logger": "alembic.runtime",
        "service": "profile",
        "request_id": "r1",
    } == {key: value for key, value in line.items() if key != "timestamp"}


def test_a_contracts_message_is_logged_by_its_type_alone(lines: Any) -> None:
    source = profile_pb2.Identifier(value="ann@example.com")
    structlog.get_logger("ours").info("answered", identifier=source, several=[source], named={"one": source})
    (line,) = lines()

    assert "tessera.profile.v1.Identifier" == line["identifier"] == line["several"][0] == line["named"]["one"]
    assert "ann" not in str(line)


@pytest.mark.parametrize("logger", [structlog.get_logger("ours"), logging.getLogger("theirs")])
def test_an_exception_is_logged_without_local_variables(lines: Any, logger: Any) -> None:
    def fail(address: str) -> None:
        raise ValueError("wrong")

    try:
        fail("ann" + "@example.com")
    except ValueError:
        logger.exception("it failed")
    (line,) = lines()

    assert "ValueError: wrong" in line["exception"]
    assert "ann@example.com" not in line["exception"]
    assert "error" == line["level"]


def test_lines_below_the_level_are_not_written(lines: Any) -> None:
    configure_logs("profile", "json", "warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("theirs").info("quiet")
    structlog.get_logger().warning("loud")
    logging.getLogger("theirs").warning("loud")

    assert ["loud", "loud"] == [line["event"] for line in lines()]


def test_without_a_terminal_auto_means_json(lines: Any) -> None:
    configure_logs("ingest", "auto", "info")
    structlog.get_logger().info("hello")

    assert ["ingest"] == [line["service"] for line in lines()]


def test_the_console_format_is_for_people(lines: Any, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("profile", "console", "info")
    structlog.get_logger("ours").info("hello", number=1)
    text = capfd.readouterr().err

    assert "hello" in text
    assert "number=1" in text
    assert "\x1b" not in text


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(message: str, *values: object, logger: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(logger, logging.ERROR, "", 0, message, values, None)


def test_a_noisy_logger_repeats_a_template_once_in_five_seconds() -> None:
    clock = Clock()
    limit = RateLimit(repeats=Repeats(clock=clock))
    passed = []
    for number in range(1000):  # 90 a second, about 11 seconds
        clock.now = number / 90
        line = record("no broker at %s", number)
        if limit.filter(line):
            passed.append((clock.now, line.suppressed))  # type: ignore[attr-defined]

    assert [(0, 0), (5, 449), (10, 449)] == passed


def test_other_templates_levels_and_loggers_are_not_held_back() -> None:
    limit = RateLimit(repeats=Repeats(clock=Clock()))

    assert limit.filter(record("no broker at %s", 1))
    assert limit.filter(record("no leader for %s", 1))
    assert limit.filter(record("no broker at %s", 1, logger="aiokafka.client"))
    assert not limit.filter(record("no broker at %s", 2))
    assert all(limit.filter(record("the same", logger="asyncpg")) for _ in range(10))


def test_messages_that_are_all_different_do_not_fill_the_memory() -> None:
    repeats = Repeats(clock=Clock())
    limit = RateLimit(repeats=repeats)
    for number in range(5000):
        limit.filter(record(f"no broker at {number}"))

    assert 1000 == len(repeats)


def test_a_suppressed_count_is_in_the_line(lines: Any) -> None:
    clock = Clock()
    (handler,) = [handler for handler in logging.getLogger().handlers if handler.filters]
    handler.filters[:] = [RateLimit(repeats=Repeats(clock=clock))]
    for clock.now in (0, 1, 2, 6):
        logging.getLogger("aiokafka").error("gone")

    assert [None, 2] == [line.get("suppressed") for line in lines()]
