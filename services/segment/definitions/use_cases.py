"""Keeps the definitions of segments."""

from collections.abc import Sequence

from libs.errors import NotFound, Required
from libs.ids import check_request_id
from services.segment.definitions.model import SegmentDefinition, SegmentVersion
from services.segment.definitions.ports import EventNames, SegmentStore
from services.segment.model import (
    Advice,
    check_id,
    check_name,
    check_rule,
    names_in,
    names_never_seen,
    require,
)

Kept = tuple[SegmentDefinition, Sequence[Advice]]
"""A segment as it is, and what is probably not meant."""


class Segments:
    """Definitions of segments, each in versions."""

    def __init__(self, store: SegmentStore, names: EventNames) -> None:
        self._store = store
        self._names = names

    async def create(
        self, definition: SegmentDefinition, request_id: str = "", validate_only: bool = False
    ) -> Kept:
        """Store a new segment; Invalid where its expression can't be understood, AlreadyExists."""
        warnings = await self._check(definition)
        check_request_id(request_id)
        if validate_only:
            return definition, warnings
        return await self._store.insert(definition, request_id), warnings

    async def update(
        self, definition: SegmentDefinition, base: SegmentDefinition, validate_only: bool = False
    ) -> Kept:
        """Change a segment from what it was when it was read; what is as it was changes nothing."""
        warnings = await self._check(definition)
        if validate_only or _is_same(definition, base):
            return base if _is_same(definition, base) else definition, warnings
        return await self._store.replace(definition, base.version), warnings

    async def find(self, segment_id: str) -> SegmentDefinition | None:
        """One segment, where there is one."""
        require("segment_id", segment_id)
        return await self._store.get(segment_id)

    async def get(self, segment_id: str) -> SegmentDefinition:
        """One segment; NotFound."""
        found = await self.find(segment_id)
        if found is None:
            raise NotFound(f"there is no segment {segment_id}", segment_id=segment_id)
        return found

    async def page(self, after: str, limit: int) -> list[SegmentDefinition]:
        """Some segments, by id."""
        return await self._store.page(after, limit)

    async def delete(self, base: SegmentDefinition) -> None:
        """Delete a segment as it was when it was read: its members leave it."""
        await self._store.delete(base.segment_id, base.version)

    async def versions(self, segment_id: str, before: int, limit: int) -> list[SegmentVersion]:
        """A segment as it was, newest first; NotFound."""
        await self.get(segment_id)
        return await self._store.versions(segment_id, before, limit)

    async def _check(self, definition: SegmentDefinition) -> Sequence[Advice]:
        check_id("segment.segment_id", definition.segment_id)
        check_name("segment.display_name", definition.display_name)
        if not definition.expression:
            raise Required("segment.expression", "is required")
        rule = check_rule("segment.expression", definition.expression)
        return names_never_seen("segment.expression", names_in(rule), await self._names.seen())


def _is_same(one: SegmentDefinition, other: SegmentDefinition) -> bool:
    return (one.display_name, one.rule) == (other.display_name, other.rule)
