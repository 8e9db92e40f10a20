"""Keeps definitions, and answers who is in a segment."""

import re
from collections.abc import Sequence
from dataclasses import replace

from libs.errors import Invalid, Malformed, NotFound, Required
from libs.expressions import RuleError, parse_rule
from services.segment.domain import DAY, SECOND, Membership, SegmentDefinition, TriggerDefinition
from services.segment.ports import Definitions, Members

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_MOST_ANSWERS = 50


class Segments:
    """Definitions, and who is in them."""

    def __init__(self, definitions: Definitions, members: Members) -> None:
        self._definitions = definitions
        self._members = members

    async def put_segment(self, definition: SegmentDefinition) -> SegmentDefinition:
        """Create a segment or change it; Invalid where its expression can't be understood."""
        _check_id("segment.segment_id", definition.segment_id)
        _check_name("segment.display_name", definition.display_name)
        _check_rule("segment.expression", definition.expression)
        return await self._definitions.put_segment(definition)

    async def put_trigger(self, definition: TriggerDefinition) -> TriggerDefinition:
        """Create a trigger or change it; Invalid names the wrong field."""
        _check_id("trigger.trigger_id", definition.trigger_id)
        _check_name("trigger.display_name", definition.display_name)
        _check_event("trigger.event_name", definition.event_name)
        if not SECOND <= definition.delay <= 30 * DAY:
            raise Invalid("trigger.delay", "must be from 1 second to 30 days")
        if len(definition.unless) > _MOST_ANSWERS:
            raise Invalid("trigger.unless_event_names", f"must be at most {_MOST_ANSWERS}")
        for name in definition.unless:
            _check_event("trigger.unless_event_names", name)
        if definition.event_name in definition.unless:
            raise Invalid("trigger.unless_event_names", "must not hold the event that starts the wait")
        if definition.condition:
            _check_rule("trigger.condition", definition.condition)
        unless = tuple(sorted(set(definition.unless)))
        return await self._definitions.put_trigger(replace(definition, unless=unless))

    async def segment(self, segment_id: str) -> SegmentDefinition:
        """One segment."""
        _require("segment_id", segment_id)
        found = await self._definitions.segment(segment_id)
        if found is None:
            raise _no_segment(segment_id)
        return found

    async def segments(self) -> list[SegmentDefinition]:
        """All segments, by id."""
        return await self._definitions.segments()

    async def triggers(self) -> list[TriggerDefinition]:
        """All triggers, by id."""
        return await self._definitions.triggers()

    async def delete_segment(self, segment_id: str) -> None:
        """Its members leave it."""
        _require("segment_id", segment_id)
        if not await self._definitions.delete_segment(segment_id):
            raise _no_segment(segment_id)

    async def delete_trigger(self, trigger_id: str) -> None:
        """Waits that go on end without it."""
        _require("trigger_id", trigger_id)
        if not await self._definitions.delete_trigger(trigger_id):
            raise NotFound(f"there is no trigger {trigger_id}", trigger_id=trigger_id)

    async def members(self, segment_id: str, after: str, limit: int) -> list[tuple[str, Membership]]:
        """A page of members, by profile id."""
        _require("segment_id", segment_id)
        if not await self._members.exists(segment_id):
            raise _no_segment(segment_id)
        return await self._members.page(segment_id, after, limit)

    async def memberships(self, profile_ids: Sequence[str]) -> list[tuple[str, str, Membership]]:
        """The memberships (profile, segment, since when) of some profiles."""
        return await self._members.of(profile_ids)


class InvalidExpression(Invalid):
    """An expression that can't be understood; `line` and `column` count from 1."""

    reason = "INVALID_EXPRESSION"


def _no_segment(segment_id: str) -> NotFound:
    return NotFound(f"there is no segment {segment_id}", segment_id=segment_id)


def _require(field: str, value: str) -> None:
    if not value:
        raise Required(field, "is required")


def _check_event(field: str, name: str) -> None:
    _require(field, name)
    if not 0 < len(name) <= 200 or "\0" in name:
        raise Invalid(field, "the name of an event has 1 to 200 characters")


def _check_id(field: str, value: str) -> None:
    _require(field, value)
    if not _ID.fullmatch(value):
        raise Malformed(field, "must be lower-case letters, digits, - and _, at most 63")


def _check_name(field: str, value: str) -> None:
    if len(value) > 200 or "\0" in value:
        raise Invalid(field, "must have at most 200 characters")


def _check_rule(field: str, text: str) -> None:
    try:
        parse_rule(text)
    except RuleError as error:
        raise InvalidExpression(field, str(error), line=error.line, column=error.column) from None
