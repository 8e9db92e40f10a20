"""Keeps programs running: starts them, starts again what ends, stops them together."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cli.log_lines import LineSplitter, MergedLog
from libs import lifecycle

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""Whoever has lived for so long is started again after the first, short pause."""
STOP_SECONDS = 10.0

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Program:
    """What to run."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Supervised:
    """One program and its present process."""

    def __init__(self, program: Program, log: MergedLog, changed: Callable[[], None] = lambda: None) -> None:
        self.program = program
        self.restarts = 0
        self.process_id: int | None = None
        self._log = log
        self._changed = changed

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep it running until asked to stop, then stop it."""
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not stopping.is_set():
            started = loop.time()
            code = await self._run_once(stopping)
            if stopping.is_set():
                return
            pause = FIRST_PAUSE_SECONDS if loop.time() - started > STEADY_SECONDS else pause
            self.restarts += 1
            self._log.say(
                f"{self.program.name} {_how(code)}: started again in {pause:g} s",
                "warning",
                restarts=self.restarts,
            )
            await lifecycle.pause(stopping, pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _run_once(self, stopping: asyncio.Event) -> int:
        process = await asyncio.create_subprocess_exec(
            *self.program.arguments,
            env=dict(self.program.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C in the terminal is for us alone: we stop the others in their order.
            start_new_session=True,
            preexec_fn=_dying_with_us(),
        )
        self.process_id = process.pid
        self._changed()
        reading = asyncio.create_task(self._read(process))
        ended = asyncio.create_task(process.wait())
        asked = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._end(process)
            await reading
            return await ended
        finally:
            asked.cancel()
            if process.returncode is None:
                process.kill()
            self.process_id = None

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._log.say(f"{self.program.name} did not stop within {STOP_SECONDS:g} s: killed", "warning")
            process.kill()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        lines = LineSplitter(lambda line: self._log.take(self.program.name, line))
        while data := await process.stdout.read(65536):
            lines.feed(data)
        lines.finish()


class Supervisor:
    """Several programs, kept running together."""

    def __init__(
        self, programs: Sequence[Program], log: MergedLog, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.supervised = {program.name: Supervised(program, log, changed) for program in programs}
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all at once."""
        for each in self.supervised.values():
            self._tasks.append(asyncio.create_task(each.run(self._stopping), name=each.program.name))

    async def stop(self) -> None:
        """Stop all together; returns when the last has ended."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _dying_with_us() -> Callable[[], None] | None:
    """What a child does before it becomes its program: ask Linux to kill it when we die.

    Elsewhere children outlive a supervisor that was killed; the next start names them by their ports.
    """
    if _libc is None:
        return None
    parent, prctl = os.getpid(), _libc.prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # we died before it could ask
            os._exit(1)

    return ask
