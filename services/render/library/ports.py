"""What keeping templates needs from outside."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.render.engine.model.parts import TemplateWarning
from services.render.library.model import Template
from services.render.model.resources import Store

Templates = Store[Template]


class Engine(Protocol):
    """Parses templates."""

    async def check(self, sources: Mapping[str, str]) -> tuple[Mapping[str, str], Sequence[TemplateWarning]]:
        """Raise Unrenderable where a part can't be parsed.

        Returns all parts, with a text made from the HTML where it was empty, and what is probably a mistake.
        """
