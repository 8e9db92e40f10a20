"""The static types of expressions; `dyn` is whatever a JSON document holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Type:
    name: str
    element: "Type | None" = None

    def __str__(self) -> str:
        return self.name if self.element is None else f"{self.name} of {self.element}"


DYN = Type("dyn")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
# Worked out of the numbers of events: a double, and in arithmetic with nothing that may be none.
NUMBER = Type("number")
STRING = Type("string")
NULL = Type("null")

NUMERIC = frozenset({INT, UINT, DOUBLE, NUMBER})
ORDERED = NUMERIC | {STRING, BOOL}


def a(kind: Type) -> str:
    """The type's name in a sentence."""
    return f"{'an' if kind.name == 'int' else 'a'} {kind}"


def list_of(element: Type) -> Type:
    return Type("list", element)


def map_of(value: Type) -> Type:
    return Type("map", value)


def is_list(kind: Type) -> bool:
    return kind.name == "list"


def is_map(kind: Type) -> bool:
    return kind.name == "map"


def may_equal(left: Type, right: Type) -> bool:
    """Whether values of the two types can be equal at all."""
    if DYN in (left, right) or left == right or {left, right} <= NUMERIC:
        return True
    if left.name == right.name and left.element and right.element:
        return may_equal(left.element, right.element)
    return False


def may_order(left: Type, right: Type) -> bool:
    if DYN in (left, right):
        return {left, right} <= ORDERED | {DYN}
    return {left, right} <= NUMERIC or (left == right and left in ORDERED)
