"""Which faults strike which system, and how often: all of them by `make faults`, a part in `make test`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tests.faults import kinds
from tests.faults.kinds import Fault

ALL = "TESSERA_FAULTS"
"""Set in the environment for the whole plan."""


@dataclass(frozen=True)
class Plan:
    """A run."""

    name: str
    faults: Mapping[str, Fault]
    times: int
    production: bool = False
    small_disk: bool = False

    @property
    def id(self) -> str:
        """Its name, for pytest."""
        return f"{self.name}-on-{'kafka' if self.production else 'postgresql'}"


SHORT = (
    Plan("kills", {**kinds.SIGKILL_OF_SERVICES, **kinds.SIGKILL_OF_POSTGRESQL, **kinds.SIGKILL_OF_UP}, 1),
    Plan("kills", {**kinds.SIGKILL_OF_KAFKA, **kinds.ZOMBIE}, 1, production=True),
)
LONG = (
    Plan("services", kinds.SIGKILL_OF_SERVICES, 10),
    Plan("database", kinds.SIGKILL_OF_POSTGRESQL, 10),
    Plan("up", kinds.SIGKILL_OF_UP, 10),
    Plan("members", {**kinds.ZOMBIE, **kinds.MEMBERS}, 5),
    Plan("services", kinds.SIGKILL_OF_SERVICES, 10, production=True),
    Plan("database", kinds.SIGKILL_OF_POSTGRESQL, 10, production=True),
    Plan("log", kinds.SIGKILL_OF_KAFKA, 10, production=True),
    Plan("members", {**kinds.ZOMBIE, **kinds.MEMBERS}, 5, production=True),
    Plan("network", kinds.NETWORK, 3, production=True),
    Plan("disk", kinds.DISK, 3, production=True, small_disk=True),
)


def chosen() -> tuple[Plan, ...]:
    """The plan that the environment asks for."""
    return LONG if os.environ.get(ALL) else SHORT
