"""A real `tessera up`, started as a person would start it, and stopped whatever a test does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

TESSERA = Path(sys.executable).with_name("tessera")
_READY_SECONDS = 240


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition, with a deadline."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it did not come true in time")
        time.sleep(0.05)


class Up:
    """A `tessera up` over a home, on free ports unless told otherwise."""

    def __init__(
        self,
        home: Path,
        port_base: int = 0,
        settings: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings or {}
        self._arguments = ["--port-base", str(port_base)]
        self._arguments += [part for service in without for part in ("--without", service)]

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        environment = {
            k: v for k, v in os.environ.items() if not k.endswith(("DATABASE_URL", "EVENT_LOG_URL"))
        }
        output = self.home.with_suffix(".out")
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                [str(TESSERA), "up", "--home", str(self.home), *self._arguments],
                stdout=file,
                stderr=file,
                env={**environment, **self._settings},
            )
        process = self.process

        def is_ready() -> bool:
            assert process.poll() is None, output.read_text()
            running = self.running()
            return running.get("process_id") == process.pid and bool(running["ready"])

        until(is_ready, _READY_SECONDS)

    def running(self) -> dict[str, Any]:
        """What `up` tells other commands."""
        try:
            found: dict[str, Any] = json.loads((self.home / "running.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def process_of(self, service: str) -> int:
        """A service's process."""
        return int(self.running()["services"][service]["process_id"])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command over the same home."""
        return subprocess.run(
            [str(TESSERA), *arguments, "--home", str(self.home)], capture_output=True, text=True, check=False
        )

    def json(self, *arguments: str) -> Any:
        """The same, which must succeed and answers in JSON."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that is ready."""
    started = Up(tmp_path_factory.mktemp("up") / "home")
    started.start()
    yield started
    if started.process and started.process.poll() is None:
        started.stop()
