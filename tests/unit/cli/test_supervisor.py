import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest

from cli import supervisor
from cli.log_lines import MergedLog
from cli.supervisor import Program, Supervisor

_SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
_DEAF = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: None)
print('up', flush=True)
while True: time.sleep(1)
"""


@asynccontextmanager
async def _running(script: str, file: io.BytesIO) -> AsyncIterator[Supervisor]:
    log = MergedLog(file, None, "nothing")
    kept = Supervisor([Program("thing", (sys.executable, "-c", script), {})], log)
    kept.start()
    try:
        yield kept
    finally:
        await kept.stop()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.01)


def _events(file: io.BytesIO) -> list[str]:
    return [json.loads(line)["event"] for line in file.getvalue().splitlines()]


async def test_a_program_that_was_killed_is_started_again_and_counted() -> None:
    file = io.BytesIO()
    async with _running(_SLEEPS, file) as kept:
        thing = kept.supervised["thing"]
        await _until(lambda: "up" in _events(file))
        first = thing.process_id
        assert first is not None
        psutil.Process(first).kill()
        await _until(lambda: _events(file).count("up") == 2)

        assert 1 == thing.restarts
        assert thing.process_id != first
    assert any("was ended by SIGKILL" in event for event in _events(file))


async def test_what_ends_again_and_again_is_started_with_growing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    file = io.BytesIO()
    async with _running("raise SystemExit(3)", file) as kept:
        await _until(lambda: kept.supervised["thing"].restarts >= 3)
    said = [event for event in _events(file) if "ended with code 3" in event]

    assert ["0.01 s", "0.02 s", "0.04 s"] == [event.rpartition("in ")[2] for event in said[:3]]


async def test_stopping_ends_the_process_and_does_not_start_it_again() -> None:
    file = io.BytesIO()
    async with _running(_SLEEPS, file) as kept:
        await _until(lambda: "up" in _events(file))
        process = kept.supervised["thing"].process_id
        assert process is not None

    assert not psutil.pid_exists(process)
    assert 0 == kept.supervised["thing"].restarts


async def test_what_does_not_hear_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    file = io.BytesIO()
    async with _running(_DEAF, file) as kept:
        await _until(lambda: "up" in _events(file))
        process = kept.supervised["thing"].process_id
        assert process is not None

    assert not psutil.pid_exists(process)
    assert any("did not stop" in event for event in _events(file))
