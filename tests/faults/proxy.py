"""A network between the services and what they need, that a test can take away."""

import asyncio
from contextlib import suppress

from libs.database.embedded import free_port

_CHUNK = 1 << 16


class Proxy:
    """Passes TCP connections on to a port of this machine, until it is told to refuse them."""

    def __init__(self) -> None:
        self.port = free_port()
        self.cut = 0
        """How many open connections were ended by refusing."""
        self._target = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self, target: int) -> None:
        """Pass connections on to `target`."""
        self._target = target
        await self.accept()

    async def accept(self) -> None:
        """Let connections through (again)."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """End all connections at once, and refuse new ones."""
        assert self._server is not None
        self._server.close()
        self._server = None
        self.cut += len(self._open) // 2
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def close(self) -> None:
        """End."""
        if self._server is not None:
            await self.refuse()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        self._open.add(writer)
        try:
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
                self._open.add(back)
                try:
                    await asyncio.gather(_pass(reader, back), _pass(there, writer))
                finally:
                    self._end(back)
        finally:
            self._end(writer)
            self._passing.discard(task)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, until either side ends: then both do."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
