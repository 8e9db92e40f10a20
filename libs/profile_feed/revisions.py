"""Which steps of a person are new, and whether one is missing before them."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Step(Protocol):
    """A step of a profile's life, in a service's own words."""

    @property
    def revision(self) -> int:
        """Its number: 1, 2, 3 … without gaps."""


S = TypeVar("S", bound=Step)


def unseen(steps: Sequence[S], revision: int) -> list[S]:
    """The steps behind a revision, in order, each once; of repetitions the first counts."""
    if len(steps) == 1:  # as most are
        return [steps[0]] if steps[0].revision > revision else []
    fresh: dict[int, S] = {}
    for step in steps:
        if step.revision > revision:
            fresh.setdefault(step.revision, step)
    return [fresh[number] for number in sorted(fresh)]


def has_gap(fresh: Sequence[Step], revision: int) -> bool:
    """Whether a step is missing between a revision and `fresh`, which `unseen` gave, or inside it."""
    return bool(fresh) and fresh[-1].revision != revision + len(fresh)
