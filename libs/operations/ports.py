"""What operations need from outside."""

from dataclasses import dataclass
from typing import Protocol

from libs.operations.model import Operation, State


@dataclass(frozen=True, slots=True)
class Filter:
    """Which operations are wanted: empty and None for all."""

    kind: str = ""
    subject: str = ""
    state: State | None = None


class Store(Protocol):
    """Where operations are kept."""

    async def add(self, operation: Operation, request_id: str = "") -> Operation:
        """Store a new one, or return the one that a request with this id has made before."""

    async def get(self, operation_id: str) -> Operation | None:
        """One by its id."""

    async def page(self, wanted: Filter, before: int, limit: int) -> list[Operation]:
        """The newest below a number."""

    async def advance(
        self, operation_id: str, done: int, total: int, detail: str, now: int
    ) -> Operation | None:
        """Note how far a running one is; returns it as it is then, None where nobody knows it."""

    async def end(self, operation_id: str, state: State, detail: str, result: bytes, now: int) -> None:
        """End a running one; what has ended stays as it is."""

    async def request_cancel(self, operation_id: str, now: int) -> Operation | None:
        """Ask a running one to end; returns it as it is then, None where nobody knows it."""

    async def fail_silent(self, last_update: int, detail: str, now: int) -> int:
        """End as failed those that said nothing since then and should have; returns how many."""
