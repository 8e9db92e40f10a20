"""The one log line of a call, and its metrics."""

import time

import structlog
from grpc import StatusCode

from libs.observability import metrics
from libs.repeats import Repeats

log = structlog.get_logger(__name__)

# While what a service needs is gone, every call says the same: as often as callers try.
_unavailable = Repeats()


class Line:
    """Gathers what became of a call: its status, the reason where it was refused, a defect of ours."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.code = StatusCode.UNKNOWN
        self.reason = ""
        self.error: Exception | None = None
        self._started = time.perf_counter()

    def write(self) -> None:
        """Log and count the call. The request id and the caller are in the log context."""
        seconds = time.perf_counter() - self._started
        metrics.RPC_CALLS.labels(self.method, self.code.name).inc()
        metrics.RPC_SECONDS.labels(self.method).observe(seconds)
        values: dict[str, object] = {
            "method": self.method,
            "code": self.code.name,
            "seconds": round(seconds, 6),
        }
        if self.code is StatusCode.UNAVAILABLE:
            held_back = _unavailable.held_back((self.method, type(self.error).__name__))
            if held_back is not None:
                reason = self.reason if self.error is None else repr(self.error)
                log.warning("call refused", **values, reason=reason, suppressed=held_back)
        elif self.error is not None:
            log.error("call failed", **values, exc_info=self.error)
        elif self.code is StatusCode.OK:
            # Hot methods answer thousands of calls a second: these are for debugging.
            log.debug("call answered", **values)
        else:
            # The reason, not the message, which may hold personal data.
            log.info("call refused", **values, **({"reason": self.reason} if self.reason else {}))
