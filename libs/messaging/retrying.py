"""How the log's components wait between failures: ever longer."""

import random

_LEAST_SECONDS = 0.05
_MOST_SECONDS = 5.0


class BackOff:
    """Doubles the wait with every failure, until something worked."""

    def __init__(self) -> None:
        self._failures = 0

    def worked(self) -> None:
        """Start over."""
        self._failures = 0

    def failed(self) -> float:
        """The seconds to wait now, with jitter, so that members do not return all at once."""
        self._failures = min(self._failures + 1, 10)
        return min(_MOST_SECONDS, _LEAST_SECONDS * float(1 << self._failures)) * random.uniform(0.5, 1)


def lost_race_seconds() -> float:
    """How long to wait after a race that somebody else has won: two who lost to each other part by chance."""
    return random.uniform(0, _LEAST_SECONDS)
