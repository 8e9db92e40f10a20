"""Serves an ASGI application as a lifecycle component."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class HttpServer:
    """Serves an application until it is asked to stop."""

    def __init__(self, app: ASGIApp, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=int(port),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=10,
                server_header=False,
            )
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve, and let the requests in flight finish."""
        serving = asyncio.create_task(self._server.serve())
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        self._server.should_exit = True
        asked.cancel()
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process's lifecycle listens to signals."""
        yield
