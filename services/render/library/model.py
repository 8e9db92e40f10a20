"""Templates, each version a value of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.errors import FailedPrecondition
from libs.etags import etag_of
from services.render.engine.model.parts import HTML, TEXT, Dialect, TemplateWarning
from services.render.engine.model.text import text_template


class TemplateInUse(FailedPrecondition):
    """A campaign uses the template."""

    reason = "TEMPLATE_IN_USE"


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template."""

    template_id: str
    version: int
    """From 1; 0 where it is not stored."""
    sources: Mapping[str, str]
    """By the part's name, all four; in lists `html` and `text` are empty."""
    dialect: Dialect = Dialect.LIQUID
    created: int = 0
    """When the template was created."""
    updated: int = 0
    """When this version was made."""

    @property
    def etag(self) -> str:
        """Another one with each version."""
        return etag_of("template", self.template_id, self.version)

    @property
    def has_made_text(self) -> bool:
        """Whether the text part is the one that follows from the HTML part."""
        return self.sources[TEXT] == text_template(self.sources[HTML])

    def says_the_same(self, other: "Template") -> bool:
        """Whether both have the same parts in the same language."""
        return (self.sources, self.dialect) == (other.sources, other.dialect)


@dataclass(frozen=True, slots=True)
class Checked:
    """A template that can be parsed, and what is probably a mistake in it."""

    template: Template
    warnings: Sequence[TemplateWarning]
