"""Liquid as our templates speak it: escaping for HTML alone, further filters, and limits."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import orjson
from liquid import Environment
from liquid.exceptions import LiquidError
from liquid.filter import string_filter
from liquid.template import BoundTemplate

from services.render.engine.model.parts import HTML, Complaint, TemplateWarning

_REMEMBERED_TEMPLATES = 256
_MOST_MONEY_DIGITS = 15


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


@string_filter
def _money(value: str, symbol: object = "") -> str:
    """1234.5 as `1,234.50`, behind a symbol; what is no amount stays as it is."""
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return value
    if not amount.is_finite() or amount.adjusted() > _MOST_MONEY_DIGITS:
        return value
    sign = "-" if amount < 0 else ""
    rounded = abs(amount).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"{sign}{symbol}{rounded:,}"


def _json(value: object) -> str:
    """A value as JSON, null for a missing one; with `| safe` it may stand in a script."""
    text = orjson.dumps(value, default=lambda _: None).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _environment(autoescape: bool) -> Environment:
    environment = _Limited(autoescape=autoescape)
    # There is nothing to include: templates stand alone.
    for tag in ("include", "render"):
        del environment.tags[tag]
    environment.add_filter("money", _money)
    environment.add_filter("json", _json)
    return environment


_ESCAPING = _environment(autoescape=True)
_PLAIN = _environment(autoescape=False)


@lru_cache(maxsize=_REMEMBERED_TEMPLATES)
def _parse(source: str, escaping: bool) -> BoundTemplate:
    return (_ESCAPING if escaping else _PLAIN).from_string(source)


def check(part: str, source: str) -> list[TemplateWarning]:
    """Refuse a part that can't be parsed or names a filter that nobody has; warn of names."""
    try:
        template = _parse(source, part == HTML)
        for name, places in template.analyze(include_partials=False).filters.items():
            if name not in template.env.filters:
                line = source.count("\n", 0, places[0].index) + 1
                raise Refused(Complaint(part, line, f"unknown filter '{name}'"))
    except (LiquidError, RecursionError, MemoryError, ValueError) as error:
        raise Refused(_complaint(part, source, error)) from error
    return []


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
        return Complaint(part, line, str(error.message or type(error).__name__))
    if isinstance(error, MemoryError):
        return Complaint(part, 0, "needs too much memory")
    if isinstance(error, RecursionError):
        return Complaint(part, 0, "is nested too deeply")
    return Complaint(part, 0, f"{type(error).__name__}: {error}")
