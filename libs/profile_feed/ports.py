"""What a reader needs from profile: plain Python, for use cases."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from libs.profile_feed.revisions import Step

S_co = TypeVar("S_co", bound=Step, covariant=True)


@dataclass(frozen=True, slots=True)
class HistoryPart(Generic[S_co]):
    """A part of what a profile tells of itself."""

    profile_id: str
    steps: Sequence[S_co] = ()
    """In order, right behind those of the part before."""
    revision: int | None = None
    """Set on the profile's last part: the revision that the history is of; 0 where nobody has the id."""
    problem: str = ""
    """Set where this person's history can't be read, whoever else's can: set them aside."""


class Histories(Protocol[S_co]):
    """Where histories are read from."""

    def read(self, after: Mapping[str, int]) -> AsyncIterator[HistoryPart[S_co]]:
        """The steps of some profiles behind a revision each, 0 for all; one profile after the other.

        Ends when its time is over: whoever has had neither a last part nor a problem by then is read on
        by another call, behind what came. Unavailable where profile does not answer at all.
        """
