"""Reads `events("Name").where(…).within("30d").count()` off the parsed tree; so for pages and screens."""

from collections.abc import Callable

from libs.expressions import syntax
from libs.expressions.errors import RuleError, error_at
from libs.expressions.features import (
    AGGREGATES,
    ANY,
    Aggregate,
    Feature,
    Kind,
    Series,
    is_path,
    window_seconds,
)

METHODS = ("where", "within", *AGGREGATES)
# What a chain may begin with, and the kind of events that it stands for.
SOURCES: dict[str, Kind] = {"events": "event", "pages": "page", "screens": "screen"}

_EXAMPLE = 'such as `events("Order Completed").within("30d").count()`'


def is_chain(node: syntax.Call) -> bool:
    """Whether a call is `events(…)`, `pages(…)` or `screens(…)`, or a method of one."""
    start: syntax.Node | None = node
    while isinstance(start, syntax.Call) and start.target is not None:
        start = start.target
    return isinstance(start, syntax.Call) and start.name in SOURCES and _only_methods_of_events(node)


def _only_methods_of_events(node: syntax.Call) -> bool:
    """False where something is called on a finished aggregate, whose value is no event any more."""
    target = node.target
    while isinstance(target, syntax.Call):
        if target.name in AGGREGATES:
            return False
        target = target.target
    return True


def feature_of(text: str, node: syntax.Call, predicate: Callable[[syntax.Node], str]) -> Feature:
    """The aggregate that a chain ends in; `predicate` checks what `where` holds and gives its text."""
    return _Chain(text, predicate).feature(node)


class _Chain:
    def __init__(self, text: str, predicate: Callable[[syntax.Node], str]) -> None:
        self._text = text
        self._predicate = predicate
        self._where: str | None = None
        self._window: int | None = None
        self._seen: set[str] = set()

    def feature(self, node: syntax.Call) -> Feature:
        aggregate = next((name for name in AGGREGATES if name == node.name), None)
        if aggregate is None or node.target is None:
            raise self._error(
                node, f"events must end in count, sum, min, max or avg, {_EXAMPLE}{_hint(node)}"
            )
        value = self._value(node, aggregate)
        step = node.target
        while isinstance(step, syntax.Call) and step.target is not None:
            self._narrow(step)
            step = step.target
        assert isinstance(step, syntax.Call)
        series = Series(self._name(step), value, self._where, SOURCES[step.name])
        return Feature(series, aggregate, self._window)

    def _error(self, at: syntax.Node, problem: str) -> RuleError:
        return error_at(self._text, at.offset, problem)

    def _only_argument(self, node: syntax.Call, what: str) -> syntax.Node:
        if len(node.arguments) != 1:
            raise self._error(node, f"`{node.name}` takes {what}, and nothing else")
        return node.arguments[0]

    def _string(self, node: syntax.Call, what: str) -> str:
        argument = self._only_argument(node, what)
        if not isinstance(argument, syntax.Literal) or not isinstance(argument.value, str):
            raise self._error(argument, f"`{node.name}` takes {what}, written out as a string")
        return argument.value

    def _value(self, node: syntax.Call, aggregate: Aggregate) -> str | None:
        if aggregate == "count":
            if node.arguments:
                raise self._error(node, "`count` takes no argument; put conditions into `where`")
            return None
        path = self._string(node, 'the path of a property, such as "revenue"')
        if not is_path(path):
            raise self._error(node.arguments[0], "a path is names with dots between, 200 characters at most")
        if path.startswith("properties."):
            begin = path.removeprefix("properties.")
            raise self._error(node.arguments[0], f'a path begins inside the properties: write "{begin}"')
        return path

    def _narrow(self, node: syntax.Call) -> None:
        if node.name in self._seen:
            raise self._error(node, f"`{node.name}` stands twice; join conditions with &&")
        self._seen.add(node.name)
        if node.name == "where":
            what = 'a condition, such as `properties.category == "shoes"`'
            self._where = self._predicate(self._only_argument(node, what))
        elif node.name == "within":
            self._window = self._seconds(node)
        else:
            raise self._error(node, f"events have no method `{node.name}`; there are where and within")

    def _seconds(self, node: syntax.Call) -> int:
        seconds = window_seconds(self._string(node, 'a length of time, such as "30d"'))
        if seconds is None:
            problem = "a length of time is a whole number and one of s, m, h, d, w, five years at most"
            raise self._error(node.arguments[0], f'{problem}, such as "30d"')
        return seconds

    def _name(self, node: syntax.Call) -> str:
        if not node.arguments:
            return ANY
        kind = SOURCES[node.name]
        name = self._string(node, _NAMED[kind])
        if name == "*":
            raise self._error(node.arguments[0], f"`*` names no {kind}; write {node.name}() for any {kind}")
        if not 0 < len(name) <= 200 or "\0" in name:
            raise self._error(node.arguments[0], f"the name of {_A[kind]} has 1 to 200 characters")
        return name


_A: dict[Kind, str] = {"event": "an event", "page": "a page", "screen": "a screen"}
_NAMED: dict[Kind, str] = {
    "event": 'the name of an event, such as "Order Completed", or nothing for any event',
    "page": 'the name of a page, such as "Home", or nothing for any page',
    "screen": 'the name of a screen, such as "Home", or nothing for any screen',
}


def _hint(node: syntax.Call) -> str:
    return "; add .count()" if node.name in (*SOURCES, "where", "within") else ""
