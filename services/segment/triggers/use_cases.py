"""Keeps the definitions of triggers."""

from collections.abc import Sequence
from dataclasses import replace

from libs.errors import Invalid, NotFound
from libs.ids import check_request_id
from services.segment.model import (
    DAY,
    SECOND,
    Advice,
    Named,
    check_id,
    check_name,
    check_rule,
    names_in,
    names_never_seen,
    require,
)
from services.segment.triggers.model import TriggerDefinition, TriggerMode, TriggerVersion
from services.segment.triggers.ports import EventNames, TriggerStore

_MOST_ANSWERS = 50
_LONGEST_DELAY = 30 * DAY

Kept = tuple[TriggerDefinition, Sequence[Advice]]
"""A trigger as it is, and what is probably not meant."""


class Triggers:
    """Definitions of triggers, each in versions."""

    def __init__(self, store: TriggerStore, names: EventNames) -> None:
        self._store = store
        self._names = names

    async def create(
        self, definition: TriggerDefinition, request_id: str = "", validate_only: bool = False
    ) -> Kept:
        """Store a new trigger; Invalid names the wrong field, AlreadyExists."""
        definition, warnings = await self._checked(definition)
        check_request_id(request_id)
        if validate_only:
            return definition, warnings
        return await self._store.insert(definition, request_id), warnings

    async def update(
        self, definition: TriggerDefinition, base: TriggerDefinition, validate_only: bool = False
    ) -> Kept:
        """Change a trigger from what it was when it was read; what is as it was changes nothing."""
        definition, warnings = await self._checked(definition)
        if _is_same(definition, base):
            return base, warnings
        if validate_only:
            return definition, warnings
        return await self._store.replace(definition, base.version), warnings

    async def find(self, trigger_id: str) -> TriggerDefinition | None:
        """One trigger, where there is one."""
        require("trigger_id", trigger_id)
        return await self._store.get(trigger_id)

    async def get(self, trigger_id: str) -> TriggerDefinition:
        """One trigger; NotFound."""
        found = await self.find(trigger_id)
        if found is None:
            raise NotFound(f"there is no trigger {trigger_id}", trigger_id=trigger_id)
        return found

    async def page(self, after: str, limit: int) -> list[TriggerDefinition]:
        """Some triggers, by id."""
        return await self._store.page(after, limit)

    async def delete(self, base: TriggerDefinition) -> None:
        """Delete a trigger as it was when it was read: waits that go on end without it."""
        await self._store.delete(base.trigger_id, base.version)

    async def versions(self, trigger_id: str, before: int, limit: int) -> list[TriggerVersion]:
        """A trigger as it was, newest first; NotFound."""
        await self.get(trigger_id)
        return await self._store.versions(trigger_id, before, limit)

    async def _checked(self, definition: TriggerDefinition) -> Kept:
        """The definition in its normal form, and what is probably not meant."""
        check_id("trigger.trigger_id", definition.trigger_id)
        check_name("trigger.display_name", definition.display_name)
        _check_event("trigger.event_name", definition.event_name)
        least = 0 if definition.mode is TriggerMode.EACH_EVENT else SECOND
        if not least <= definition.delay <= _LONGEST_DELAY:
            raise Invalid("trigger.delay", f"must be from {least // SECOND} second{'s'[least:]} to 30 days")
        if len(definition.unless) > _MOST_ANSWERS:
            raise Invalid("trigger.unless_event_names", f"must be at most {_MOST_ANSWERS}")
        for name in definition.unless:
            _check_event("trigger.unless_event_names", name)
        if definition.event_name in definition.unless:
            raise Invalid("trigger.unless_event_names", "must not hold the event that starts the wait")
        if definition.withdraws and not definition.unless:
            raise Invalid("trigger.withdraw_when_answered", "needs unless_event_names, which answer")
        warnings = await self._names_never_seen(definition)
        return replace(definition, unless=tuple(sorted(set(definition.unless)))), warnings

    async def _names_never_seen(self, definition: TriggerDefinition) -> Sequence[Advice]:
        seen = await self._names.seen()
        warnings = names_never_seen("trigger.event_name", [("event", definition.event_name)], seen)
        answers: list[tuple[Named, str]] = [("event", name) for name in definition.unless]
        warnings += names_never_seen("trigger.unless_event_names", answers, seen)
        if definition.condition:
            rule = check_rule("trigger.condition", definition.condition)
            warnings += names_never_seen("trigger.condition", names_in(rule), seen)
        return warnings


def _check_event(field: str, name: str) -> None:
    require(field, name)
    if not 0 < len(name) <= 200 or "\0" in name:
        raise Invalid(field, "the name of an event has 1 to 200 characters")


def _is_same(one: TriggerDefinition, other: TriggerDefinition) -> bool:
    return (one.display_name, one.rule) == (other.display_name, other.rule)
