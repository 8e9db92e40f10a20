"""Keeps templates."""

import time
from collections.abc import Callable
from dataclasses import replace

from libs.errors import Invalid, Required, TooLarge
from services.render.engine.model.parts import HTML, PREHEADER, SUBJECT, TEXT
from services.render.library.model import Checked, Template
from services.render.library.ports import Engine, Templates
from services.render.model import MICROS
from services.render.model.resources import Resources, checked_id

_MOST_LINE = 10_000
_MOST_SOURCE = 400_000


class Library:
    """Templates, checked before they are stored."""

    def __init__(self, templates: Templates, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._resources = Resources(templates, "template")
        self._engine = engine
        self._clock = clock

    async def check(self, template: Template) -> Checked:
        """The template with all four parts; Invalid where one is wrong, or can't be parsed."""
        _check_sources(template)
        sources, warnings = await self._engine.check(template.sources)
        return Checked(replace(template, sources=sources), warnings)

    async def create(self, template: Template, request_id: str = "", validate_only: bool = False) -> Checked:
        """Store a new template."""
        checked_id("template.template_id", template.template_id)
        checked = await self.check(template)
        stamped = self._stamped(checked.template, None)
        stored = await self._resources.create(template.template_id, stamped, request_id, validate_only)
        return Checked(stored, checked.warnings)

    async def update(
        self,
        template_id: str,
        change: Callable[[Template | None], Template],
        etag: str = "",
        allow_missing: bool = False,
        request_id: str = "",
        validate_only: bool = False,
    ) -> Checked:
        """Store what `change` makes of the newest version, None for a missing one, unless it is the same."""
        checked_id("template.template_id", template_id)
        checked: list[Checked] = []

        async def make(stored: Template | None) -> Template:
            changed = change(stored)
            if stored is not None and stored.has_made_text and changed.sources[TEXT] == stored.sources[TEXT]:
                changed = replace(changed, sources={**changed.sources, TEXT: ""})
            checked.append(await self.check(changed))
            return self._stamped(checked[-1].template, stored)

        stored = await self._resources.update(
            template_id, make, etag, allow_missing, request_id, validate_only
        )
        # A repeated request is not checked again: what it made is stored.
        return Checked(stored, checked[-1].warnings) if checked else await self.check(stored)

    async def get(self, template_id: str, version: int = 0) -> Template:
        """One version, or the newest."""
        return await self._resources.get(template_id, version)

    async def page(self, after: str, limit: int) -> tuple[list[Template], bool]:
        """The next templates by id, without their bodies, and whether there are more."""
        return await self._resources.page(after, limit)

    async def versions(self, template_id: str, below: int, limit: int) -> tuple[list[Template], bool]:
        """The next older versions, without their bodies, and whether there are more."""
        return await self._resources.versions(template_id, below, limit)

    async def delete(self, template_id: str, etag: str = "", allow_missing: bool = False) -> None:
        """Delete it; TemplateInUse while a campaign uses it."""
        await self._resources.delete(template_id, etag, allow_missing)

    def _stamped(self, template: Template, stored: Template | None) -> Template:
        now = int(self._clock() * MICROS)
        version, created = (stored.version, stored.created) if stored else (0, now)
        return replace(template, version=version, created=created, updated=now)


def _check_sources(template: Template) -> None:
    for part, source in template.sources.items():
        most = _MOST_LINE if part in (SUBJECT, PREHEADER) else _MOST_SOURCE
        if len(source) > most:
            raise TooLarge(f"template.{part}", f"has {len(source):,} characters, {most:,} are allowed")
        if "\0" in source:
            raise Invalid(f"template.{part}", "contains the character U+0000")
    for part in (SUBJECT, HTML):
        if not template.sources[part].strip():
            raise Required(f"template.{part}", "is required")
