"""The processes that fill templates: gives them jobs, and replaces those that a template ended."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from services.render.engine.model.parts import TemplateWarning, Unrenderable
from services.render.engine.wire import LENGTH_BYTES, Job, Result, decode_result, framed

log = structlog.get_logger(__name__)

_MEGABYTES = 512
# The processor's time is limited by the kernel; this is for a process that does not even use it.
_PATIENCE = 5.0
_NO_LINE = 0
# A template that ran away so often is refused for a while: each further try would cost its whole time,
# and whoever waits for a batch of them would wait for hours.
_STRIKES = 2
_PENALTY_SECONDS = 60.0
# Where somebody else ended the process, for want of memory perhaps, the template gets another try. Not
# a third: it may be what ends the processes.
_TRIES = 2
_MOST_REMEMBERED = 1000
_NOTHING = Job({}, None)


class Engine:
    """Fills templates, several at once; a context manager that ends its processes.

    A template that runs past `seconds` of processor time, or needs too much memory, loses its
    process and is `Unrenderable`; nobody else notices.
    """

    def __init__(
        self, processes: int = 1, seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._strikes: dict[int, list[float]] = {}
        self._processes = [_Process(seconds) for _ in range(processes)]
        self._idle: asyncio.LifoQueue[_Process] = asyncio.LifoQueue()

    async def __aenter__(self) -> Self:
        for process in self._processes:
            self._idle.put_nowait(process)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            await process.end()

    async def start(self) -> None:
        """Start all processes now: the first message would wait for them."""
        await asyncio.gather(*(self._tried(process, _NOTHING) for process in self._processes))

    async def check(self, sources: Mapping[str, str]) -> tuple[Mapping[str, str], Sequence[TemplateWarning]]:
        """Raise Unrenderable where a part can't be parsed.

        Returns all parts, with a text made from the HTML where it was empty, and what is probably a mistake.
        """
        result = await self._do(Job(sources, None))
        return result.parts, result.warnings

    async def render(self, sources: Mapping[str, str], context: bytes) -> Mapping[str, str]:
        """Fill all parts with a JSON object; Unrenderable tells the part, the line and the reason."""
        return (await self._do(Job(sources, context))).parts

    async def _do(self, job: Job) -> Result:
        template = hash(tuple(sorted(job.parts.items())))
        process = await self._idle.get()
        try:
            if self._is_banned(template):
                raise Unrenderable("", _NO_LINE, "did not finish lately, and is not tried again for a minute")
            result = await self._tried(process, job)
        finally:
            self._idle.put_nowait(process)
        if result is None:
            self._strike(template)
            raise Unrenderable("", _NO_LINE, f"did not finish within {self._seconds:g} s")
        if result.complaint is not None:
            raise Unrenderable(result.complaint.part, result.complaint.line, result.complaint.problem)
        return result

    async def _tried(self, process: "_Process", job: Job) -> Result | None:
        """Do a job; None where it did not finish."""
        for _ in range(_TRIES):
            try:
                return await process.do(job)
            except _Killed:
                log.warning("rendering process killed", parts=sorted(job.parts))
        return None

    def _strike(self, template: int) -> None:
        if len(self._strikes) >= _MOST_REMEMBERED:
            self._strikes.clear()
        self._strikes.setdefault(template, []).append(self._clock())

    def _is_banned(self, template: int) -> bool:
        recent = [at for at in self._strikes.get(template, ()) if at > self._clock() - _PENALTY_SECONDS]
        return len(recent) >= _STRIKES


class _Killed(Exception):
    """A rendering process ended, and not because a job used up its time."""


class _Process:
    """One rendering process, started with its first job."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: asyncio.subprocess.Process | None = None

    async def do(self, job: Job) -> Result | None:
        """Do a job; None where its time was over before it was done."""
        running = self._running or await self._start()
        answered = False
        try:
            async with asyncio.timeout(self._seconds * _PATIENCE + _PATIENCE):
                result = await _exchange(running, job)
            answered = True
        except TimeoutError:
            return None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.end()
            if running.returncode != -signal.SIGPROF:
                raise _Killed from None
            return None
        finally:
            # Also when the caller gave up: the answer would pass for that of the next job.
            if not answered:
                await self.end()
        return result

    async def end(self) -> None:
        """End the process, if it runs."""
        running, self._running = self._running, None
        if running is None:
            return
        with suppress(ProcessLookupError):
            running.kill()
        await running.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        self._running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.render.engine",
            str(self._seconds),
            str(_MEGABYTES),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Nothing else of ours: a template must not come near passwords and keys.
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            # An interrupt at the terminal is for the service, which ends its processes itself.
            start_new_session=True,
        )
        return self._running


async def _exchange(process: asyncio.subprocess.Process, job: Job) -> Result:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(framed(job))
    await process.stdin.drain()
    length = await process.stdout.readexactly(LENGTH_BYTES)
    return decode_result(await process.stdout.readexactly(int.from_bytes(length, "big")))
