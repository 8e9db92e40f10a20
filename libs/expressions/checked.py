"""The tree of a rule after type checking: every node has its type, every name its meaning."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Literal as OneOf

from libs.expressions.features import Feature
from libs.expressions.kinds import BOOL, Type
from libs.expressions.syntax import LiteralValue


@dataclass(frozen=True, slots=True)
class Node:
    type: Type


@dataclass(frozen=True, slots=True)
class Literal(Node):
    value: LiteralValue


@dataclass(frozen=True, slots=True)
class Root(Node):
    """`traits`, `consent` or `properties` as a whole."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """The element that a quantifier is at; level 1 belongs to the outermost one."""

    level: int


@dataclass(frozen=True, slots=True)
class Event(Node):
    feature: Feature


@dataclass(frozen=True, slots=True)
class Field(Node):
    operand: Node
    key: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    operand: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Has(Node):
    member: Field


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negate(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    operator: OneOf["+", "-", "*", "/", "%"]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Equal(Node):
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Order(Node):
    operator: OneOf["<", "<=", ">", ">="]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class In(Node):
    item: Node
    container: Node


@dataclass(frozen=True, slots=True)
class Not(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class And(Node):
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class StringTest(Node):
    method: OneOf["startsWith", "endsWith", "contains"]
    operand: Node
    argument: Node


@dataclass(frozen=True, slots=True)
class Matches(Node):
    operand: Node
    pattern: str
    search: Callable[[str], bool | None] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Convert(Node):
    """size, int, double, string, lowerAscii and upperAscii: a function of one value."""

    function: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Quantifier(Node):
    kind: OneOf["exists", "all"]
    range: Node
    # Tells apart which variable the body binds.
    level: int
    body: Node


# Nodes that are conditions by themselves; any other node of type bool is a value that is tested.
CONDITIONS = (Has, Equal, Order, In, Not, And, Or, StringTest, Matches, Quantifier)


def is_condition(node: Node) -> bool:
    return isinstance(node, CONDITIONS) or (isinstance(node, Conditional) and node.type == BOOL)


def asks_events(node: Node) -> bool:
    """Whether anything in a tree is an aggregate over events."""
    if isinstance(node, Event):
        return True
    parts = (getattr(node, part.name) for part in fields(node))
    nodes = (one for part in parts for one in (part if isinstance(part, tuple) else (part,)))
    return any(asks_events(one) for one in nodes if isinstance(one, Node))
