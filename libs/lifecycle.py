"""Runs the parts of a process until it is asked to stop, or until one of them fails."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from libs.errors import Unavailable
from libs.repeats import Repeats

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 20.0
_ATTEMPT_SECONDS = 0.25


class Component(Protocol):
    """A part of a process: a server, a consumer loop, a job."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish the work in hand and return."""


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def run_until_stopped(*components: Component, drain_seconds: float = DRAIN_SECONDS) -> None:
    """Run all components at once until SIGTERM or SIGINT.

    All are asked to stop together and get `drain_seconds` to finish. A component that fails, or
    returns before it was asked to, stops the others; its error is raised.
    """
    stopping = asyncio.Event()
    with _signals(stopping):
        tasks = {
            asyncio.create_task(component.run(stopping), name=type(component).__name__)
            for component in components
        }
        asked = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({*tasks, asked}, return_when=asyncio.FIRST_COMPLETED)
            ended = [task for task in tasks if task.done()]
            if ended and not stopping.is_set():
                log.error("component ended", component=ended[0].get_name())
            stopping.set()
            _, pending = await asyncio.wait(tasks, timeout=drain_seconds)
            if pending:
                log.warning("drain timed out", components=sorted(task.get_name() for task in pending))
        finally:
            stopping.set()
            for task in (*tasks, asked):
                task.cancel()
            results = await asyncio.gather(*tasks, asked, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, but not longer than until the process is asked to stop."""
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


async def wait_for(
    what: str,
    attempt: Callable[[], Awaitable[object]],
    passes: Callable[[Exception], bool],
    seconds: float,
) -> None:
    """Attempt what a process needs at its start, again and again while its failure passes.

    Raises:
        Unavailable: it failed for `seconds`.
    """
    begun = time.monotonic()
    told = False
    while True:
        try:
            await attempt()
        except Exception as error:
            if not passes(error):
                raise
            if time.monotonic() - begun > seconds:
                raise Unavailable(f"{what} did not answer within {seconds:g} s: {error!r}") from error
            if not told:
                log.info("waits at the start", needs=what, at_most_seconds=seconds, error=repr(error))
            told = True
            await asyncio.sleep(_ATTEMPT_SECONDS)
        else:
            if told:
                log.info("goes on", needed=what, waited_seconds=round(time.monotonic() - begun, 1))
            return


async def repeat(
    work: Callable[[], Awaitable[object]],
    stopping: asyncio.Event,
    seconds: float,
    passes: Callable[[Exception], bool],
) -> None:
    """Do some work now and again, until asked to stop; a failure that passes is logged alone."""
    name, repeats = getattr(work, "__qualname__", repr(work)), Repeats()
    while not stopping.is_set():
        try:
            await work()
        except Exception as error:
            if not passes(error):
                raise
            held_back = repeats.held_back(type(error).__name__)
            if held_back is not None:
                log.warning("interrupted", work=name, error=repr(error), suppressed=held_back)
        await pause(stopping, seconds)
