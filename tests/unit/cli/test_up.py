"""What `tessera up` tells of its start."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.commands.up import _tell_when_ready
from cli.home import Home
from cli.log_lines import open_log
from cli.running import Running, RunningService


class Slow:
    """A stack whose render needs three times the time."""

    running = Running(
        1, "1.0", "http://127.0.0.1:8080", "", "", "tessera", {"render": RunningService("h:1", "")}
    )

    def __init__(self) -> None:
        self.late = [["render"], ["render"], []]

    async def wait_until_ready(self, seconds: float) -> list[str]:
        """Wait, and wait, and be ready."""
        return self.late.pop(0)


async def test_a_start_that_takes_long_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    slow: Any = Slow()
    console = Console(file=io.StringIO(), width=200)
    log_file = tmp_path / "log"
    with open_log(log_file, console, "nothing") as log:
        await _tell_when_ready(Home.at(tmp_path), slow, 0.0, log, console)
    told = log_file.read_text()

    assert [] == slow.late
    assert 1 == told.count("not ready after 60 s: render")
    assert 1 == told.count('"ready"')
    assert isinstance(console.file, io.StringIO)
    assert "Ctrl-C stops everything" in console.file.getvalue()
