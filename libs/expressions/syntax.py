"""The tree that a rule's text is parsed into, before any meaning is known."""

from dataclasses import dataclass, field
from typing import TypeAlias

LiteralValue: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    # Two texts that differ in spaces only have equal trees.
    offset: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Literal(Node):
    kind: str
    value: LiteralValue


@dataclass(frozen=True, slots=True)
class Name(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Select(Node):
    operand: Node
    name: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    operand: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function, or a method where there is a target."""

    target: Node | None
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logical(Node):
    """All operands of a chain of && or of ||: both are associative in CEL's three-valued logic."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    condition: Node
    then: Node
    otherwise: Node
