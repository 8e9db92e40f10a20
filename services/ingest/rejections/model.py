"""An event that was not accepted, as it is kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was not accepted."""

    source_id: str
    received: int
    """Microseconds since 1970."""
    field: str
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class KeptRejection:
    """A rejected event and its number."""

    rejection_id: int
    rejected: Rejected
