"""What a process's parts do again and again."""

import asyncio
from typing import Any

from libs.lifecycle import repeat


async def test_work_that_keeps_failing_says_so_once_in_a_while(lines: Any) -> None:
    stopping, tried = asyncio.Event(), 0

    async def work() -> None:
        nonlocal tried
        tried += 1
        if tried == 100:
            stopping.set()
        raise ConnectionRefusedError("no database")

    await repeat(work, stopping, 0.001, lambda error: isinstance(error, OSError))
    told = [line for line in lines() if line["event"] == "interrupted"]

    assert 100 == tried
    assert [0] == [line["suppressed"] for line in told]
