"""An operation: plain Python. Times are microseconds since 1970."""

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """How an operation stands, numbered as in the contract."""

    RUNNING = 1
    SUCCEEDED = 2
    FAILED = 3
    CANCELLED = 4


@dataclass(frozen=True, slots=True)
class Operation:
    """A piece of long-running work."""

    operation_id: str
    kind: str
    subject: str
    created: int
    updated: int
    number: int = 0
    """Counts operations in the order in which they were made."""
    state: State = State.RUNNING
    done: int = 0
    total: int = 0
    """0 where it is not known."""
    detail: str = ""
    cancellable: bool = True
    cancel_requested: bool = False
    ended: int | None = None
    result: bytes = b""
    """A JSON object, or nothing."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state is not State.RUNNING
