"""Tells on the terminal what the demo does, how far it is, and how long each step took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn


class Step:
    """One step while it is done."""

    def __init__(self, progress: Progress, task: TaskID, title: str) -> None:
        self._progress = progress
        self._task = task
        self._started = time.monotonic()
        self.title = title
        """What is told of the step when it is done."""

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._started

    def of(self, total: int | None) -> None:
        """Say how much there is to do, where it is known."""
        if total is not None:
            self._progress.columns = (*self._progress.columns, BarColumn(bar_width=30), MofNCompleteColumn())
            self._progress.update(self._task, total=total)

    def advance(self, count: int) -> None:
        """Say that so much more is done."""
        self._progress.advance(self._task, count)
        done = self._progress.tasks[self._task].completed
        self._progress.update(self._task, rate=f"{done:,.0f}, {done / max(self.seconds, 0.001):,.0f}/s")

    def remaining(self, records: int) -> None:
        """Say how much is left of what can't be counted beforehand."""
        self._progress.update(self._task, rate=f"{records:,} to go")


class Steps:
    """The steps so far, with their seconds."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Show a step while it is done, then a line of it; `name` is for the report."""
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            transient=True,
            refresh_per_second=5,
            disable=self._quiet or not self._console.is_terminal,
        )
        with progress:
            step = Step(progress, progress.add_task(title, total=None, rate=""), title)
            yield step
        self.seconds[name] = round(step.seconds, 2)
        if not self._quiet:
            self._console.print(f"  [green]✓[/green] {step.title} [dim]{step.seconds:.1f} s[/dim]")
