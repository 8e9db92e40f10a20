"""Keeps what is said again and again, while something is gone, from filling the log."""

import time
from collections.abc import Callable, Hashable

SECONDS = 5.0
_KEYS_KEPT = 1000


class Repeats:
    """Lets the same thing be said once in `seconds`, and counts how often it was held back."""

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def held_back(self, key: Hashable) -> int | None:
        """How many were held back since the last that passed; None where this one is held back, too."""
        now = self._clock()
        passed, suppressed = self._seen.get(key, (now - self._seconds, 0))
        if now - passed < self._seconds:
            self._seen[key] = (passed, suppressed + 1)
            return None
        if len(self._seen) >= _KEYS_KEPT:
            # Messages that were formatted before they were logged are all different: forget the oldest.
            del self._seen[next(iter(self._seen))]
        self._seen.pop(key, None)
        self._seen[key] = (now, 0)
        return suppressed
