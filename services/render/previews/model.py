"""What is shown, and what a test is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.render.engine.model.parts import SUBJECT, TemplateWarning
from services.render.library.model import Template

_MARK = "[Test] "


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be rendered: a campaign, with its own template or another; or a template alone."""

    campaign_id: str = ""
    template_id: str = ""
    template: Template | None = None
    """An unsaved one."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a template says."""

    parts: Mapping[str, str]
    context: bytes
    """JSON object: what it was rendered from."""
    warnings: Sequence[TemplateWarning]


def marked(parts: Mapping[str, str]) -> dict[str, str]:
    """A mail that nobody takes for a real one."""
    return {**parts, SUBJECT: _MARK + parts[SUBJECT]}
