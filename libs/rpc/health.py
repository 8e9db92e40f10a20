"""The standard health service (grpc.health.v1), with answers that are checked.

`liveness`: the loop turns, or nobody would answer. `readiness`, "" and each service by its name:
every check passed when it last ran. A check runs in the background, so that a probe costs nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from libs.lifecycle import pause

log = structlog.get_logger(__name__)

ReadinessCheck = Callable[[], Awaitable[None]]
"""Returns where what it checks answers, raises where it does not."""

LIVENESS: Final = "liveness"
READINESS: Final = "readiness"
SERVING: Final = HealthCheckResponse.SERVING
NOT_SERVING: Final = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Final = HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):
    """Runs the checks, and answers Check and Watch from what they last said."""

    def __init__(
        self,
        checks: Mapping[str, ReadinessCheck],
        services: Iterable[str] = (),
        *,
        every_seconds: float = 1.0,
        check_seconds: float = 2.0,
    ) -> None:
        self._checks = dict(checks)
        self._every_seconds = every_seconds
        self._check_seconds = check_seconds
        self._ready_names = frozenset(("", READINESS, *services))
        self._failing: dict[str, str] | None = None
        self._draining = False
        self._changed = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Check every second or so until `stopping` is set."""
        while not stopping.is_set():
            await self.check()
            await pause(stopping, self._every_seconds)

    async def check(self) -> None:
        """Run all checks at once; say so in the log where other checks fail than before."""
        results = await asyncio.gather(*(self._problem(check) for check in self._checks.values()))
        failing = {name: problem for name, problem in zip(self._checks, results, strict=True) if problem}
        before, self._failing = self._failing, failing
        if before is not None and before.keys() == failing.keys():
            return
        if failing:
            log.warning("not ready", failing=failing)
        else:
            log.info("ready")
        self._tell()

    def drain(self) -> None:
        """Answer NOT_SERVING from now on, and end every Watch once it has been told."""
        self._draining = True
        self._tell()

    async def Check(  # noqa: N802 - the contract's name
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> HealthCheckResponse:
        """Answer for one service. Errors: NOT_FOUND for a service that is not here."""
        status = self._status(request.service)
        if status == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return HealthCheckResponse(status=status)

    async def Watch(  # noqa: N802 - the contract's name
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[HealthCheckResponse]:
        """Answer for one service at once and at every change, until the server drains."""
        told = None
        while True:
            changed = self._changed
            if (status := self._status(request.service)) != told:
                yield HealthCheckResponse(status=status)
                told = status
            # A Watch that stayed open would hold the server for the whole time it has to drain.
            if self._draining:
                return
            await changed.wait()

    async def _problem(self, check: ReadinessCheck) -> str | None:
        try:
            async with asyncio.timeout(self._check_seconds):
                await check()
        except Exception as error:
            return f"{type(error).__name__}: {error}".removesuffix(": ")
        return None

    def _status(self, service: str) -> int:
        if service == LIVENESS:
            return SERVING
        if service not in self._ready_names:
            return SERVICE_UNKNOWN
        # Nothing has been checked yet: not ready. An empty dict: all checks passed.
        return SERVING if self._failing == {} and not self._draining else NOT_SERVING

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
