"""The errors that use cases raise. They know nothing of gRPC or HTTP; the rim maps them to status codes.

TesseraError
├── Invalid              the caller sent something wrong: names the field
│   ├── Required         it is missing
│   ├── Malformed        it has not the form that was asked for
│   └── TooLarge         it is longer, or there is more of it, than is allowed
├── NotFound             there is no such thing
├── AlreadyExists        there is one of this name already
├── Conflict             it exists, but differently; or it changed meanwhile
├── FailedPrecondition   right in itself, but not in the present state
│   └── Misconfigured    what we are set up with is wrong: only who runs us can mend it
├── Unauthenticated      nobody known is calling
│   ├── KeyMissing       no key is shown
│   └── KeyUnknown       the key that is shown is nobody's
├── PermissionDenied     the caller may not do this
├── ResourceExhausted    too much at once: try later
└── Unavailable          something needed does not answer: try again
    └── Contended        it was only somebody else's turn: try again at once
"""

from collections.abc import Mapping
from typing import ClassVar


class TesseraError(Exception):
    """Something a caller can act on: a stable reason, a sentence, and the values in it."""

    reason: str = "UNKNOWN"
    retry_seconds: ClassVar[float | None] = None
    """After how long the same call may succeed; None where trying again changes nothing."""

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = {name: str(value) for name, value in metadata.items()}


class Invalid(TesseraError):
    """The caller sent something wrong."""

    reason = "INVALID"

    def __init__(self, field: str, problem: str, **metadata: object) -> None:
        super().__init__(f"{field}: {problem}", field=field, **metadata)
        self.field = field
        self.problem = problem


class Required(Invalid):
    """Something that must be there is missing."""

    reason = "REQUIRED"


class Malformed(Invalid):
    """It has not the form that was asked for."""

    reason = "MALFORMED"


class TooLarge(Invalid):
    """It is longer, or there is more of it, than is allowed."""

    reason = "TOO_LARGE"


class NotFound(TesseraError):
    """There is no such thing."""

    reason = "NOT_FOUND"


class AlreadyExists(TesseraError):
    """There is one of this name already."""

    reason = "ALREADY_EXISTS"


class Conflict(TesseraError):
    """It exists, but differently; or it changed meanwhile."""

    reason = "CONFLICT"


class FailedPrecondition(TesseraError):
    """Right in itself, but not in the present state."""

    reason = "FAILED_PRECONDITION"


class Misconfigured(FailedPrecondition):
    """What a process is set up with is wrong: only who runs it can mend it."""

    reason = "MISCONFIGURED"


class Unauthenticated(TesseraError):
    """Nobody known is calling."""

    reason = "UNAUTHENTICATED"


class KeyMissing(Unauthenticated):
    """The caller shows no key."""

    reason = "KEY_MISSING"


class KeyUnknown(Unauthenticated):
    """The caller shows a key that nobody has."""

    reason = "KEY_UNKNOWN"


class PermissionDenied(TesseraError):
    """The caller may not do this."""

    reason = "PERMISSION_DENIED"


class ResourceExhausted(TesseraError):
    """Too much at once: try later."""

    reason = "RESOURCE_EXHAUSTED"
    retry_seconds = 2.0


class Unavailable(TesseraError):
    """Something that is needed does not answer: try again."""

    reason = "UNAVAILABLE"
    retry_seconds = 1.0


class Contended(Unavailable):
    """Somebody else was at it at the same moment, and has won."""
