"""What a segment is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SegmentDefinition:
    """People for whom an expression is true. Times are microseconds since 1970."""

    segment_id: str
    display_name: str
    expression: str
    version: int = 0
    """Counts every change of the definition."""
    plan: int = 0
    """The version of the plan in which its rule came."""
    created: int = 0
    updated: int = 0
    members: int = 0
    active: bool = False
    backfill: str = ""
    """The operation that evaluates all people by its rule, where it is still known."""

    @property
    def rule(self) -> str:
        """What makes somebody a member: a change of anything else computes nothing anew."""
        return self.expression


@dataclass(frozen=True, slots=True)
class SegmentVersion:
    """A segment as it was."""

    version: int
    display_name: str
    expression: str
    created: int
