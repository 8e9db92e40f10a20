"""Concurrent callers share one write."""

import asyncio

import pytest

from libs.errors import ResourceExhausted
from libs.messaging.coalescing import Coalescer


class _Store:
    def __init__(self) -> None:
        self.stored: list[list[int]] = []
        self.open = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self, items: list[int]) -> None:
        self.stored.append(items)
        await self.open.wait()
        if self.error is not None:
            raise self.error


async def test_callers_that_come_during_a_store_share_the_next_one_in_their_order() -> None:
    store = _Store()
    coalescer = Coalescer(store)
    calls = [asyncio.create_task(coalescer.send([n, n + 100])) for n in range(4)]
    first = asyncio.create_task(asyncio.sleep(0))
    await first
    await asyncio.sleep(0)
    late = asyncio.create_task(coalescer.send([9]))
    await asyncio.sleep(0)
    store.open.set()
    await asyncio.gather(*calls, late)

    assert [0, 100, 1, 101, 2, 102, 3, 103, 9] == [n for items in store.stored for n in items]
    assert len(store.stored) == 2


async def test_a_store_takes_no_more_than_its_most_but_one_large_call() -> None:
    store = _Store()
    store.open.set()
    coalescer = Coalescer(store, most=3)
    await asyncio.gather(*(coalescer.send(list(range(size))) for size in (2, 2, 1, 7, 3)))

    assert [2, 3, 7, 3] == [len(items) for items in store.stored]


async def test_each_caller_hears_of_its_own_stores_failure_alone() -> None:
    store = _Store()
    coalescer = Coalescer(store)
    failing = asyncio.create_task(coalescer.send([1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.error = ValueError("no")
    store.open.set()

    with pytest.raises(ValueError, match="no"):
        await failing

    store.error = None
    await coalescer.send([2])


async def test_a_caller_that_gave_up_is_left_out_and_disturbs_nobody() -> None:
    store = _Store()
    coalescer = Coalescer(store)
    first = asyncio.create_task(coalescer.send([1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gave_up = asyncio.create_task(coalescer.send([2]))
    stays = asyncio.create_task(coalescer.send([3]))
    await asyncio.sleep(0)
    gave_up.cancel()
    await asyncio.gather(gave_up, return_exceptions=True)
    store.open.set()
    await asyncio.gather(first, stays)

    assert [[1], [3]] == store.stored


async def test_what_waits_is_bounded_and_the_rest_is_refused() -> None:
    store = _Store()
    coalescer = Coalescer(store, most_waiting=10)
    calls = [asyncio.create_task(coalescer.send([1]))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls.append(asyncio.create_task(coalescer.send([2] * 10)))
    await asyncio.sleep(0)

    with pytest.raises(ResourceExhausted):
        await coalescer.send([3])

    store.open.set()
    await asyncio.gather(*calls)
    await coalescer.send([4])


async def test_nobody_waits_for_ever_when_the_store_is_cancelled() -> None:
    store = _Store()
    coalescer = Coalescer(store)
    calls = [asyncio.create_task(coalescer.send([1]))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls.append(asyncio.create_task(coalescer.send([2])))
    await asyncio.sleep(0)
    assert coalescer._running is not None
    coalescer._running.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(result, asyncio.CancelledError) for result in results)
