"""Runs a process's main coroutine on the fastest loop there is."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# A batch makes some ten thousands of objects that die with it, and caches keep hundreds of thousands
# that live long: with Python's own 700, a third of the time went into looking for cycles among them.
_YOUNG_OBJECTS = 50_000


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on uvloop, or on asyncio's own loop where uvloop does not exist (Windows)."""
    gc.freeze()  # what was imported stays for good
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
