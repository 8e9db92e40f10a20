"""Log lines as a container writes them."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from libs.observability import configure_logs, stop_traces


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configure JSON logs; return what reads the lines since it was last asked."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logs("profile", "json", "debug")
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _no_traces() -> Iterator[None]:
    yield
    stop_traces()
