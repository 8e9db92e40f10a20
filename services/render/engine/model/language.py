"""Liquid as our templates speak it: escaping for HTML alone, further filters, and limits."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from liquid import Environment, RenderContext
from liquid.ast import Node
from liquid.builtin.expressions import FilteredExpression, LoopExpression, Path, TernaryFilteredExpression
from liquid.builtin.expressions.filtered import Filter
from liquid.exceptions import LiquidError
from liquid.expression import Expression
from liquid.template import BoundTemplate

from services.render.engine.model import comparing
from services.render.engine.model.dialects import foreign_in
from services.render.engine.model.filters import tolerant_filters
from services.render.engine.model.names import (
    is_known,
    name_of,
    near_filter,
    near_tag,
    nearest,
    one_of,
    tag_inside,
)
from services.render.engine.model.parts import HTML, Complaint, TemplateWarning

_REMEMBERED_TEMPLATES = 256
_MOST_WARNINGS = 20
# `else` takes no condition, and the library reads on over one without a word.
_ELSE_IF = re.compile(r"\{%-?\s*else\s+if\b[^%]*-?%\}")
_UNKNOWN_TAG = re.compile(r"unexpected tag '(\w+)'")

comparing.install()


class Refused(Exception):
    """A template can't be parsed or rendered."""

    def __init__(self, complaint: Complaint) -> None:
        super().__init__(complaint.problem)
        self.complaint = complaint


class _Limited(Environment):
    """What a template may do: each limit far above what a mail needs, far below what hurts."""

    block_nesting_limit = 30
    context_depth_limit = 30
    loop_iteration_limit = 20_000
    local_namespace_limit = 1_000_000
    output_stream_limit = 600_000


def _environment(autoescape: bool) -> Environment:
    environment = _Limited(autoescape=autoescape)
    # There is nothing to include: templates stand alone.
    for tag in ("include", "render"):
        del environment.tags[tag]
    environment.filters = tolerant_filters(environment.filters)
    return environment


_ESCAPING = _environment(autoescape=True)
_PLAIN = _environment(autoescape=False)


@lru_cache(maxsize=_REMEMBERED_TEMPLATES)
def _parse(source: str, escaping: bool) -> BoundTemplate:
    return (_ESCAPING if escaping else _PLAIN).from_string(source)


def check(part: str, source: str) -> list[TemplateWarning]:
    """Refuse a part that can't be parsed, or holds what nobody has; warn of names that nothing has."""
    foreign = foreign_in(source)
    if foreign is not None:
        raise Refused(
            Complaint(
                part,
                _line_of(source, foreign.at),
                f"{_short(foreign.text)} is {foreign.language}, and this template is written in "
                "Liquid, such as {{ profile.traits.first_name }}; what is to stand there as it is goes "
                "between {% raw %} and {% endraw %}",
            )
        )
    misplaced = _ELSE_IF.search(source)
    if misplaced is not None:
        raise Refused(Complaint(part, _line_of(source, misplaced.start()), "'else if' is written 'elsif'"))
    try:
        template = _parse(source, part == HTML)
        analysis = template.analyze(include_partials=False)
        for name, places in analysis.filters.items():
            if name not in template.env.filters:
                near = near_filter(name, list(template.env.filters))
                hint = f": did you mean '{near}'?" if near else ""
                raise Refused(
                    Complaint(part, _line_of(source, places[0].index), f"unknown filter '{name}'{hint}")
                )
        for used in _filters_of(template):
            used.validate_filter_arguments(template.env)
        return list(islice(_unknown_names(part, source, template), _MOST_WARNINGS))
    except (LiquidError, RecursionError, MemoryError, ValueError) as error:
        raise Refused(_complaint(part, source, error)) from error


def _filters_of(template: BoundTemplate) -> Iterator[Filter]:
    """Every use of a filter, also in branches that no context leads to."""
    context = RenderContext(template)
    nodes = list(template.nodes)
    while nodes:
        node = nodes.pop()
        for expression in node.expressions():
            yield from _filters_in(expression)
        nodes += node.children(context, include_partials=False)


def _filters_in(expression: Expression) -> Iterator[Filter]:
    if isinstance(expression, FilteredExpression | TernaryFilteredExpression):
        yield from expression.filters or ()
    for child in expression.children():
        yield from _filters_in(child)


def _unknown_names(part: str, source: str, template: BoundTemplate) -> Iterator[TemplateWarning]:
    seen: set[str] = set()
    for written, at, meant in _Names(template).found():
        name = name_of(written)
        if name not in seen and not is_known(meant):
            seen.add(name)
            # Of what a loop takes from a list the writer knows the loop's own name.
            taken = name_of(meant[: len(meant) - len(written) + 1])
            own = str(written[0])
            near = [own + hint[len(taken) :] if hint.startswith(taken) else hint for hint in nearest(meant)]
            yield TemplateWarning(part, _line_of(source, at), name, near)


class _Names:
    """The names of a template that it does not make itself, and what is meant by each."""

    def __init__(self, template: BoundTemplate) -> None:
        self._nodes = template.nodes
        self._context = RenderContext(template)
        self._made: set[str] = set()

    def found(self) -> Iterator[tuple[list[Any], int, list[Any]]]:
        """Each as it is written, where, and as it would be written outside of loops."""
        return self._in_nodes(self._nodes, {})

    def _in_nodes(
        self, nodes: Iterable[Node], loops: Mapping[str, list[Any] | None]
    ) -> Iterator[tuple[list[Any], int, list[Any]]]:
        for node in nodes:
            inside = {**loops, **{str(name): None for name in node.block_scope()}}
            for expression in node.expressions():
                yield from self._in_expression(expression, loops)
                if isinstance(expression, LoopExpression) and isinstance(expression.iterable, Path):
                    meant = self._meant(_segments(expression.iterable), loops)
                    inside[str(expression.identifier)] = meant and one_of(meant)
            self._made.update(map(str, node.template_scope()))
            yield from self._in_nodes(node.children(self._context, include_partials=False), inside)

    def _in_expression(
        self, expression: Expression, loops: Mapping[str, list[Any] | None]
    ) -> Iterator[tuple[list[Any], int, list[Any]]]:
        if isinstance(expression, Path):
            written = _segments(expression)
            meant = self._meant(written, loops)
            if meant is not None:
                yield written, expression.token.start_index, meant
        scope = expression.scope()
        inside = {**loops, **{str(name): None for name in scope}} if scope else loops
        for child in expression.children():
            yield from self._in_expression(child, inside)

    def _meant(self, written: list[Any], loops: Mapping[str, list[Any] | None]) -> list[Any] | None:
        """None for what the template makes itself."""
        root = str(written[0])
        if root in loops:
            taken = loops[root]
            return None if taken is None else [*taken, *written[1:]]
        return None if root in self._made else written


def _segments(path: Path) -> list[Any]:
    return [_segments(part) if isinstance(part, Path) else part for part in path.path]


def render(part: str, source: str, context: dict[str, Any]) -> str:
    """Fill a part; what is missing is empty."""
    try:
        return _parse(source, part == HTML).render(context)
    except Exception as error:  # the library lets others than its own pass where a value is odd
        raise Refused(_complaint(part, source, error)) from error


def _complaint(part: str, source: str, error: Exception) -> Complaint:
    if isinstance(error, LiquidError):
        place = error.context() if error.token and error.token.start_index < len(source) else None
        # Without a place it is the end of the text that came too early.
        line = place[0] if place else source.count("\n") + 1
        return Complaint(part, line, _hinted(str(error.message or type(error).__name__)))
    if isinstance(error, MemoryError):
        return Complaint(part, 0, "needs too much memory")
    if isinstance(error, RecursionError):
        return Complaint(part, 0, "is nested too deeply")
    return Complaint(part, 0, f"{type(error).__name__}: {error}")


def _hinted(problem: str) -> str:
    """The library's words, and the tag that may be meant."""
    unknown = _UNKNOWN_TAG.search(problem)
    place = tag_inside(unknown[1]) if unknown else ""
    if place:
        return f"{problem}: {place}"
    near = near_tag(unknown[1], [*_PLAIN.tags, "elsif", "when", "else"]) if unknown else ""
    return f"{problem}: did you mean '{near}'?" if near else problem


def _line_of(source: str, index: int) -> int:
    return source.count("\n", 0, index) + 1


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 40 else f"{words[:39]}…"
