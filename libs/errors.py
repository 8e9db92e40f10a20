"""The errors that use cases raise. They know nothing of gRPC or HTTP; the rim maps them to status codes.

TesseraError
├── Invalid              the caller sent something wrong: names the field
├── NotFound             there is no such thing
├── Conflict             it exists, but differently; or it changed meanwhile
├── FailedPrecondition   right in itself, but not in the present state
├── Unauthenticated      nobody known is calling
├── PermissionDenied     the caller may not do this
├── ResourceExhausted    too much at once: try later
└── Unavailable          something needed does not answer: try again
"""

from collections.abc import Mapping
from typing import ClassVar


class TesseraError(Exception):
    """Something a caller can act on: a stable reason, a sentence, and the values in it."""

    reason: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = {name: str(value) for name, value in metadata.items()}


class Invalid(TesseraError):
    """The caller sent something wrong."""

    reason = "INVALID"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", field=field)
        self.field = field
        self.problem = problem


class NotFound(TesseraError):
    """There is no such thing."""

    reason = "NOT_FOUND"


class Conflict(TesseraError):
    """It exists, but differently; or it changed meanwhile."""

    reason = "CONFLICT"


class FailedPrecondition(TesseraError):
    """Right in itself, but not in the present state."""

    reason = "FAILED_PRECONDITION"


class Unauthenticated(TesseraError):
    """Nobody known is calling."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(TesseraError):
    """The caller may not do this."""

    reason = "PERMISSION_DENIED"


class ResourceExhausted(TesseraError):
    """Too much at once: try later."""

    reason = "RESOURCE_EXHAUSTED"


class Unavailable(TesseraError):
    """Something that is needed does not answer: try again."""

    reason = "UNAVAILABLE"
