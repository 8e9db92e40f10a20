"""Sends batches of calls to the tracking API, over a few connections at once."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import httpx

from cli.replay.timeline import Batch
from libs.errors import TesseraError

_TRIES = 8
_FIRST_PAUSE_SECONDS = 0.2
_AGAIN = (429, 503)


@dataclass(slots=True)
class Sent:
    """What became of the events."""

    accepted: int = 0
    rejected: int = 0


class Sender:
    """A client of the tracking API."""

    def __init__(self, client: httpx.AsyncClient, url: str, keys: Mapping[str, str]) -> None:
        self._client = client
        self._url = f"{url}/v1/batch"
        self._keys = keys
        self.sent = Sent()

    async def send_all(
        self, batches: Iterable[Batch], connections: int, told: Callable[[int], None] = lambda count: None
    ) -> None:
        """Send batches in their order, a few at a time; `told` hears how many events each one held."""
        waiting = iter(batches)

        async def work() -> None:
            for batch in waiting:
                await self.send(batch)
                told(batch.count)

        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(work())

    async def send(self, batch: Batch, traceparent: str = "") -> None:
        """Send one batch, again while it is not acknowledged: message ids make that harmless."""
        headers = {"content-type": "application/json"}
        if traceparent:
            headers["traceparent"] = traceparent
        pause = _FIRST_PAUSE_SECONDS
        problem = ""
        for _ in range(_TRIES):
            try:
                answer = await self._client.post(
                    self._url, content=batch.body, headers=headers, auth=(self._keys[batch.source], "")
                )
            except httpx.TransportError as error:
                problem = repr(error)
            else:
                if answer.status_code == httpx.codes.OK:
                    rejected = len(answer.json().get("rejected", ()))
                    self.sent.accepted += batch.count - rejected
                    self.sent.rejected += rejected
                    return
                problem = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code not in _AGAIN:
                    break
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5)
        raise TesseraError(f"the tracking API did not take a batch: {problem}")
