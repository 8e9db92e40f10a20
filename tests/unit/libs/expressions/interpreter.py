"""A second, slow meaning of the rule language: walks the parsed tree, with every value's type in sight.

It shares the parser with the real one and nothing else: no checker, no generated code, no runtime.
A value is a pair of type and Python value, and FAILED is CEL's error.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from libs.expressions import canonical, syntax

Value = tuple[str, Any]
FAILED: Value = ("error", None)
TRUE: Value = ("bool", True)
FALSE: Value = ("bool", False)

_NUMERIC = ("int", "uint", "double", "number")
_RANGES = {"int": (-(2**63), 2**63 - 1), "uint": (0, 2**64 - 1)}
_JSON = {
    str: "string",
    bool: "bool",
    int: "int",
    float: "double",
    list: "list",
    dict: "map",
    type(None): "null",
}


def tagged(value: Any) -> Value:
    return _JSON[type(value)], value


def _truth(held: bool | None) -> Value:
    return FAILED if held is None else ("bool", held)


def _equal(left: Value, right: Value) -> bool:
    (kind, one), (other_kind, other) = left, right
    if kind in _NUMERIC and other_kind in _NUMERIC:
        return _compare(one, other) == 0
    if kind != other_kind:
        return False
    if kind == "list":
        return len(one) == len(other) and all(
            _equal(tagged(a), tagged(b)) for a, b in zip(one, other, strict=True)
        )
    if kind == "map":
        return set(one) == set(other) and all(_equal(tagged(one[key]), tagged(other[key])) for key in one)
    return bool(one == other)


def _compare(one: float, other: float) -> int | None:
    """Minus one, zero or one; None where either is not a number."""
    if math.isnan(one) or math.isnan(other):
        return None
    if math.isinf(one) or math.isinf(other):
        return (one > other) - (one < other)
    exact, exact_other = Fraction(one), Fraction(other)
    return (exact > exact_other) - (exact < exact_other)


def _ordered(operator: str, left: Value, right: Value) -> Value:
    (kind, one), (other_kind, other) = left, right
    if kind in _NUMERIC and other_kind in _NUMERIC:
        sign = _compare(one, other)
        if sign is None:
            return FALSE
    elif kind == other_kind and kind in ("string", "bool"):
        sign = (one > other) - (one < other)
    else:
        return FAILED
    return _truth({"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[operator])


def _divided(one: int, other: int) -> int:
    return math.trunc(Fraction(one, other))


def _arithmetic(operator: str, left: Value, right: Value) -> Value:
    (kind, one), (other_kind, other) = _operand(left), _operand(right)
    if {kind, other_kind} == {"int", "double"} and operator != "%":
        try:
            return "double", _doubles(operator, float(one), float(other))
        except OverflowError:
            return FAILED
    if kind != other_kind:
        return FAILED
    if kind in _RANGES:
        return _integers(operator, kind, one, other)
    if kind == "double" and operator != "%":
        return kind, _doubles(operator, one, other)
    return (kind, one + other) if operator == "+" and kind in ("string", "list") else FAILED


def _operand(value: Value) -> Value:
    return ("double", float(value[1])) if value[0] == "number" else value


def _integers(operator: str, kind: str, one: int, other: int) -> Value:
    if operator in "/%" and other == 0:
        return FAILED
    result = {
        "+": lambda: one + other,
        "-": lambda: one - other,
        "*": lambda: one * other,
        "/": lambda: _divided(one, other),
        "%": lambda: one - other * _divided(one, other),
    }[operator]()
    low, high = _RANGES[kind]
    return (kind, result) if low <= result <= high else FAILED


def _doubles(operator: str, one: float, other: float) -> float:
    if operator == "/" and other == 0:
        if one == 0 or math.isnan(one):
            return math.nan
        return math.inf if (math.copysign(1, one) == math.copysign(1, other)) else -math.inf
    return {"+": one + other, "-": one - other, "*": one * other, "/": one / (other or 1.0)}[operator]


class Interpreter:
    def __init__(
        self, traits: Mapping[str, Any], consent: Mapping[str, bool], aggregates: Mapping[str, float | None]
    ) -> None:
        self._names: dict[str, Value] = {"traits": ("map", dict(traits)), "consent": ("map", dict(consent))}
        # By the canonical text of the expression.
        self._aggregates = aggregates

    def holds(self, tree: syntax.Node) -> bool:
        return self.run(tree) == TRUE

    def run(self, node: syntax.Node) -> Value:
        method = getattr(self, f"_{type(node).__name__.lower()}")
        result: Value = method(node)
        return result

    def _literal(self, node: syntax.Literal) -> Value:
        return node.kind, node.value

    def _name(self, node: syntax.Name) -> Value:
        return self._names[node.name]

    def _select(self, node: syntax.Select) -> Value:
        kind, value = self.run(node.operand)
        return tagged(value[node.name]) if kind == "map" and node.name in value else FAILED

    def _index(self, node: syntax.Index) -> Value:
        (kind, value), (key_kind, key) = self.run(node.operand), self.run(node.key)
        if kind == "map" and key_kind == "string":
            return tagged(value[key]) if key in value else FAILED
        if kind == "list" and key_kind in _NUMERIC and key == math.floor(key) and 0 <= key < len(value):
            return tagged(value[int(key)])
        return FAILED

    def _listof(self, node: syntax.ListOf) -> Value:
        items = [self.run(item) for item in node.items]
        return FAILED if FAILED in items else ("list", [value for _, value in items])

    def _unary(self, node: syntax.Unary) -> Value:
        kind, value = _operand(self.run(node.operand))
        if node.operator == "!":
            return _truth(not value if kind == "bool" else None)
        if kind == "int":
            return _integers("-", kind, 0, value)
        return (kind, -value) if kind == "double" else FAILED

    def _logical(self, node: syntax.Logical) -> Value:
        decisive = node.operator == "||"
        results = [self.run(operand) for operand in node.operands]
        if ("bool", decisive) in results:
            return "bool", decisive
        return _truth(not decisive if all(kind == "bool" for kind, _ in results) else None)

    def _conditional(self, node: syntax.Conditional) -> Value:
        condition = self.run(node.condition)
        if condition not in (TRUE, FALSE):
            return FAILED
        kind, value = self.run(node.then if condition == TRUE else node.otherwise)
        # Beside something dynamic, a number of events is what it happens to be.
        return tagged(value) if kind == "number" else (kind, value)

    def _binary(self, node: syntax.Binary) -> Value:
        left, right = self.run(node.left), self.run(node.right)
        if FAILED in (left, right):
            return FAILED
        if node.operator in ("==", "!="):
            return _truth(_equal(left, right) == (node.operator == "=="))
        if node.operator == "in":
            return self._membership(left, right)
        if node.operator in "<=>=":
            return _ordered(node.operator, left, right)
        return _arithmetic(node.operator, left, right)

    def _membership(self, item: Value, container: Value) -> Value:
        kind, values = container
        if kind == "list":
            return _truth(any(_equal(item, tagged(value)) for value in values))
        return _truth(item[0] == "string" and item[1] in values if kind == "map" else None)

    def _call(self, node: syntax.Call) -> Value:
        text = canonical.text_of(node)
        if text in self._aggregates:
            value = self._aggregates[text]
            return FAILED if value is None else ("int" if node.name == "count" else "number", value)
        if node.name in ("exists", "all"):
            return self._quantifier(node)
        if node.name == "has":
            return self._has(node.arguments[0])
        arguments = [self.run(part) for part in ([node.target] if node.target else []) + list(node.arguments)]
        if FAILED in arguments:
            return FAILED
        return self._function(node.name, *arguments)

    def _has(self, member: syntax.Node) -> Value:
        assert isinstance(member, syntax.Select)
        kind, value = self.run(member.operand)
        return _truth(member.name in value if kind == "map" else None)

    def _quantifier(self, node: syntax.Call) -> Value:
        assert node.target is not None
        variable, body = node.arguments
        assert isinstance(variable, syntax.Name)
        kind, values = self.run(node.target)
        if kind not in ("list", "map"):
            return FAILED
        results = []
        for value in values:
            self._names[variable.name] = tagged(value)
            results.append(self.run(body))
        decisive = node.name == "exists"
        if ("bool", decisive) in results:
            return "bool", decisive
        return _truth(not decisive if all(kind == "bool" for kind, _ in results) else None)

    def _function(self, name: str, subject: Value, *others: Value) -> Value:
        kind, value = subject
        if name == "size":
            return ("int", len(value)) if kind in ("string", "list", "map") else FAILED
        if name == "double":
            return ("double", float(value)) if kind in _NUMERIC else FAILED
        if name == "int":
            whole = kind in _NUMERIC and math.isfinite(value) and abs(value) < 2**63
            return ("int", math.trunc(value)) if whole else FAILED
        if any(one != "string" for one, _ in (subject, *others)):
            return FAILED
        if name == "lowerAscii":
            return "string", re.sub("[A-Z]", lambda match: match[0].lower(), value)
        other = others[0][1]
        answers = {
            "startsWith": value[: len(other)] == other,
            "endsWith": not other or value[-len(other) :] == other,
            "contains": value.find(other) >= 0,
            "matches": re.search(other, value) is not None if name == "matches" else None,
        }
        return _truth(answers[name])
