"""What a handler can ask about the call it serves: who is calling, and whether the server stops."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass

READ_PERSONAL = "pii.read"
REQUEST_ID_KEY = "x-request-id"
TRACEPARENT_KEY = "traceparent"
AUTHORIZATION_KEY = "authorization"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: the name of the key, and the permissions that it holds.

    A permission is a name such as `profile.read`, a whole area as `segment.*`, or `*` for all.
    """

    name: str
    permissions: frozenset[str] = frozenset()

    def may(self, permission: str) -> bool:
        """Tell whether the caller holds `permission`, by name or by its area."""
        held = self.permissions
        return permission in held or "*" in held or f"{permission.rpartition('.')[0]}.*" in held


ANONYMOUS = Caller("anonymous")

_caller: ContextVar[Caller] = ContextVar("caller", default=ANONYMOUS)
_stopping: ContextVar[asyncio.Event | None] = ContextVar("stopping", default=None)


def caller() -> Caller:
    """Return who makes the call that is being served; `ANONYMOUS`, who may nothing, outside of one."""
    return _caller.get()


def stopping() -> asyncio.Event:
    """Return the event that is set once the server drains: a stream without an end should end then.

    Outside of a call it is an event that nobody sets.
    """
    return _stopping.get() or asyncio.Event()


def enter(who: Caller, stop: asyncio.Event) -> None:
    """Set what `caller` and `stopping` answer, in the task of one call."""
    _caller.set(who)
    _stopping.set(stop)
