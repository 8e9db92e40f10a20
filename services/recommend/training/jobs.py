"""A training that is watched: an operation that tells how far it is, and can be cancelled."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

import structlog

from libs.operations.use_cases import Operations
from libs.operations.use_cases import Progress as Operation
from services.recommend.registry.model import ModelInfo
from services.recommend.training.use_cases import Training

log = structlog.get_logger(__name__)

KIND: Final = "recommend.training"


@dataclass(frozen=True, slots=True)
class _Told:
    """Progress, told to the operation, and in the log to whoever started this process."""

    operation: Operation

    async def advance(self, done: int, total: int, detail: str) -> None:
        log.info("training goes on", done=done, total=total, detail=detail)
        await self.operation.advance(done, total, detail)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a training made."""

    operation_id: str
    model: ModelInfo
    bytes: int


class TrainingJob:
    """Trains once."""

    def __init__(self, training: Training, operations: Operations) -> None:
        self._training = training
        self._operations = operations

    async def run(self) -> Summary | None:
        """Train; None where somebody cancelled it, or asked this process to end."""
        operation = await self._operations.start(KIND)
        summary = None
        with _cancelled_by_signals(self._operations, operation.operation_id):
            async with self._operations.run(operation) as progress:
                model, size = await self._training.run(_Told(progress))
                progress.result = {**asdict(model), "bytes": size}
                summary = Summary(operation.operation_id, model, size)
        return summary


@contextmanager
def _cancelled_by_signals(operations: Operations, operation_id: str) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the training at its next step, with its account kept."""
    loop = asyncio.get_running_loop()
    asked: set[asyncio.Task[object]] = set()

    def cancel() -> None:
        asked.add(asyncio.ensure_future(operations.cancel(operation_id)))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
