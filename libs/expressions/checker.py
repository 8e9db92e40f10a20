"""Gives every name of a parsed rule its meaning and every expression its type, or says what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from libs.expressions import canonical, checked, events, kinds, regexp, syntax
from libs.expressions.errors import RuleError, error_at
from libs.expressions.features import Feature
from libs.expressions.kinds import BOOL, DOUBLE, DYN, INT, NULL, NUMBER, STRING, UINT, Type, a

# Each costs state for every person who has the event.
MAX_FEATURES = 50
# Quantifiers inside each other multiply the lengths of their lists.
MAX_QUANTIFIERS = 2

_ROOTS = {"traits": kinds.map_of(DYN), "consent": kinds.map_of(BOOL), "properties": kinds.map_of(DYN)}
_LITERALS = {"int": INT, "uint": UINT, "double": DOUBLE, "string": STRING, "bool": BOOL, "null": NULL}
_CONVERSIONS = {"size": INT, "int": INT, "double": DOUBLE, "string": STRING}
_CASES = ("lowerAscii", "upperAscii")
_TESTS = ("startsWith", "endsWith", "contains")
_QUANTIFIERS = ("exists", "all")
_FUNCTIONS = ("has", *events.SOURCES, "matches", *_CONVERSIONS)
_METHODS = ("size", "matches", *_CASES, *_TESTS, *_QUANTIFIERS, *events.METHODS)
_NAME_HINTS = {
    "and": "write && for “and”",
    "or": "write || for “or”",
    "not": "write ! for “not”",
    "None": "write null",
    "nil": "write null",
    "True": "write true",
    "False": "write false",
    "event": 'write events("Name")',
    "events": 'write events("Name")',
    "page": 'write pages("Name")',
    "pages": 'write pages("Name")',
    "screen": 'write screens("Name")',
    "screens": 'write screens("Name")',
}


@dataclass
class Findings:
    """What a rule reads, collected while it is checked."""

    features: dict[Feature, None] = field(default_factory=dict)
    traits: set[str] = field(default_factory=set)
    uses_consent: bool = False


def check(text: str, tree: syntax.Node, roots: tuple[str, ...]) -> tuple[checked.Node, Findings]:
    """Checks a whole rule, whose result must be a bool, over the given roots."""
    checker = _Checker(text, roots)
    node = checker.condition(tree, "the rule")
    return node, checker.findings


class _Checker:
    def __init__(self, text: str, roots: tuple[str, ...]) -> None:
        self._text = text
        self._roots = roots
        self._variables: dict[str, checked.Variable] = {}
        self.findings = Findings()

    def condition(self, node: syntax.Node, what: str) -> checked.Node:
        result = self._check(node)
        if result.type not in (BOOL, DYN):
            raise self._error(node, f"{what} must be true or false, and this is {a(result.type)}")
        return result

    def _check(self, node: syntax.Node) -> checked.Node:
        return _CHECKS[type(node)](self, node)

    def _error(self, at: syntax.Node, problem: str) -> RuleError:
        return error_at(self._text, at.offset, problem)

    def _hint(self, name: str, known: tuple[str, ...]) -> str:
        if name in _NAME_HINTS and name not in known:
            return f"; {_NAME_HINTS[name]}"
        close = get_close_matches(name, known, 1)
        return f"; did you mean `{close[0]}`?" if close else ""

    def literal(self, node: syntax.Literal) -> checked.Node:
        return checked.Literal(_LITERALS[node.kind], node.value)

    def name(self, node: syntax.Name) -> checked.Node:
        if node.name in self._variables:
            return self._variables[node.name]
        if node.name not in self._roots:
            known = ", ".join(f"`{root}`" for root in self._roots)
            hint = self._hint(node.name, (*self._roots, *self._variables))
            if not hint and self._roots[0] != "traits":
                hint = "; inside `where` only the event's own properties can be read"
            raise self._error(node, f"`{node.name}` is not known here; there is {known}{hint}")
        self._reads(node.name, "*")
        return checked.Root(_ROOTS[node.name], node.name)

    def _reads(self, root: str, key: str) -> None:
        if root == "traits":
            self.findings.traits.add(key)
        self.findings.uses_consent |= root == "consent"

    def _container(self, node: syntax.Node, key: str | None) -> checked.Node:
        """What is left of a `.` or `[`; a root of which one key is read doesn't count as read whole."""
        if key is None or not isinstance(node, syntax.Name) or node.name in self._variables:
            return self._check(node)
        if node.name not in self._roots:
            return self.name(node)
        self._reads(node.name, key)
        return checked.Root(_ROOTS[node.name], node.name)

    def select(self, node: syntax.Select) -> checked.Field:
        operand = self._container(node.operand, node.name)
        if operand.type == DYN:
            return checked.Field(DYN, operand, node.name)
        if operand.type.element is None or not kinds.is_map(operand.type):
            hint = "; call a method with parentheses" if node.name in _METHODS else ""
            raise self._error(node, f"{a(operand.type)} has no field `{node.name}`{hint}")
        return checked.Field(operand.type.element, operand, node.name)

    def index(self, node: syntax.Index) -> checked.Node:
        literal = node.key.value if isinstance(node.key, syntax.Literal) else None
        name = literal if isinstance(literal, str) else None
        operand, key = self._container(node.operand, name), self._check(node.key)
        allowed: tuple[Type, ...] = (INT, UINT, STRING, DYN, NUMBER, DOUBLE)
        if kinds.is_list(operand.type):
            allowed = (INT, UINT, DYN)
        elif kinds.is_map(operand.type):
            allowed = (STRING, DYN)
        elif operand.type != DYN:
            raise self._error(node, f"{a(operand.type)} cannot be indexed")
        if key.type not in allowed:
            raise self._error(node.key, f"{a(operand.type)} cannot be indexed by {a(key.type)}")
        element = operand.type.element or DYN
        if name is not None:
            return checked.Field(element, operand, name)
        return checked.Index(element, operand, key)

    def list_of(self, node: syntax.ListOf) -> checked.Node:
        items = tuple(self._check(item) for item in node.items)
        types = {item.type for item in items}
        if UINT in types and len(types) > 1:
            raise self._error(node, "a uint cannot share a list with other types; leave out the u")
        element = types.pop() if len(types) == 1 else DYN
        return checked.ListOf(kinds.list_of(element), items)

    def unary(self, node: syntax.Unary) -> checked.Node:
        if node.operator == "!":
            return checked.Not(BOOL, self.condition(node.operand, "what `!` negates"))
        operand = self._check(node.operand)
        if operand.type not in (INT, DOUBLE, NUMBER, DYN):
            raise self._error(node, f"{a(operand.type)} has no negative")
        return checked.Negate(DOUBLE if operand.type == NUMBER else operand.type, operand)

    def logical(self, node: syntax.Logical) -> checked.Node:
        operands = tuple(self.condition(part, f"each side of {node.operator}") for part in node.operands)
        return checked.And(BOOL, operands) if node.operator == "&&" else checked.Or(BOOL, operands)

    def conditional(self, node: syntax.Conditional) -> checked.Node:
        condition = self.condition(node.condition, "what stands before `?`")
        then, otherwise = self._check(node.then), self._check(node.otherwise)
        result = then.type if then.type == otherwise.type else DYN
        known = DYN not in (then.type, otherwise.type)
        if result == DYN and (known or UINT in (then.type, otherwise.type)):
            found = f"{then.type} and {otherwise.type}"
            raise self._error(node, f"both results of `? :` must have one type, and these are {found}")
        return checked.Conditional(result, condition, then, otherwise)

    def binary(self, node: syntax.Binary) -> checked.Node:
        left = self._check(node.left)
        if node.operator == "in":
            return self._in(node, left)
        right = self._check(node.right)
        if node.operator in ("==", "!="):
            return self._equality(node, left, right)
        if node.operator in ("<", "<=", ">", ">="):
            if not kinds.may_order(left.type, right.type):
                raise self._error(node, f"{a(left.type)} and {a(right.type)} have no order")
            return checked.Order(BOOL, node.operator, left, right)  # type: ignore[arg-type]
        result = self._arithmetic_type(node, left.type, right.type)
        return checked.Arithmetic(result, node.operator, left, right)  # type: ignore[arg-type]

    def _equality(self, node: syntax.Binary, left: checked.Node, right: checked.Node) -> checked.Node:
        if not kinds.may_equal(left.type, right.type):
            raise self._error(node, f"{a(left.type)} never equals {a(right.type)}")
        same = checked.Equal(BOOL, left, right)
        return same if node.operator == "==" else checked.Not(BOOL, same)

    def _in(self, node: syntax.Binary, item: checked.Node) -> checked.Node:
        literal = item.value if isinstance(item, checked.Literal) else None
        key = literal if isinstance(literal, str) else None
        container = self._container(node.right, key)
        if kinds.is_map(container.type):
            possible = item.type in (STRING, DYN)
        elif kinds.is_list(container.type):
            possible = kinds.may_equal(item.type, container.type.element or DYN)
        elif container.type == DYN:
            possible = True
        else:
            raise self._error(node, f"`in` looks into a list or a map, and this is {a(container.type)}")
        if not possible:
            raise self._error(node, f"{a(item.type)} is never in {a(container.type)}")
        return checked.In(BOOL, item, container)

    def _arithmetic_type(self, node: syntax.Binary, left: Type, right: Type) -> Type:
        sign, both = node.operator, {left, right}
        if NUMBER in both:
            if sign != "%" and both <= {NUMBER, DOUBLE}:
                return DOUBLE
            other = right if left == NUMBER else left
            hint = f"; write double(…) around the {other}" if sign != "%" and other in (INT, DYN) else ""
            raise self._error(node, f"`{sign}` does not take {a(left)} and {a(right)}{hint}")
        if kinds.is_list(left) and kinds.is_list(right):
            if sign == "+" and (left == right or UINT not in (left.element, right.element)):
                return left if left == right else kinds.list_of(DYN)
        elif DYN in both or left == right:
            known = left if right == DYN else right
            if _has_operator(known, sign, dynamic=DYN in both):
                return DYN if kinds.is_list(known) else known
        hint = "; write double(…) around the int" if both == {INT, DOUBLE} else ""
        raise self._error(node, f"`{sign}` does not take {a(left)} and {a(right)}{hint}")

    def call(self, node: syntax.Call) -> checked.Node:
        if events.is_chain(node):
            return self._event(node)
        known = _FUNCTIONS if node.target is None else _METHODS
        if node.name in events.METHODS or node.name not in known:
            raise self._unknown_function(node, known)
        if node.name == "has":
            return self._has(node)
        if node.name in _QUANTIFIERS:
            return self._quantifier(node)
        # A method's target is the first argument of the function.
        arguments = node.arguments if node.target is None else (node.target, *node.arguments)
        wanted = 2 if node.name in _TESTS or node.name == "matches" else 1
        if len(arguments) != wanted:
            takes = wanted if node.target is None else wanted - 1
            plural = "" if takes == 1 else "s"
            found = len(node.arguments)
            raise self._error(node, f"`{node.name}` takes {takes} argument{plural}, and here are {found}")
        if node.name in _CONVERSIONS:
            return self._conversion(node, arguments[0])
        return self._on_string(node, arguments)

    def _unknown_function(self, node: syntax.Call, known: tuple[str, ...]) -> RuleError:
        if node.name in events.METHODS:
            example = 'events("Order Completed").within("30d").count()'
            return self._error(node, f"`{node.name}` belongs to events, as in `{example}`")
        if node.name in _METHODS:
            return self._error(node, f"`{node.name}` is a method; write value.{node.name}(…)")
        if node.name in _FUNCTIONS:
            return self._error(node, f"`{node.name}` is a function; write {node.name}(…)")
        what = "function" if node.target is None else "method"
        return self._error(node, f"there is no {what} `{node.name}`{self._hint(node.name, known)}")

    def _event(self, node: syntax.Call) -> checked.Node:
        if "traits" not in self._roots:
            raise self._error(node, "events cannot be counted inside `where`")
        feature = events.feature_of(self._text, node, self._predicate)
        self.findings.features[feature] = None
        if len(self.findings.features) > MAX_FEATURES:
            raise self._error(node, f"a rule has at most {MAX_FEATURES} different aggregates; split it up")
        return checked.Event(INT if feature.aggregate == "count" else NUMBER, feature)

    def _predicate(self, node: syntax.Node) -> str:
        checker = _Checker(self._text, ("properties",))
        checker.condition(node, "the predicate of `where`")
        return canonical.text_of(node)

    def _has(self, node: syntax.Call) -> checked.Node:
        argument = node.arguments[0] if len(node.arguments) == 1 else None
        if not isinstance(argument, syntax.Select):
            hint = 'write has(traits.name), or "first name" in traits'
            raise self._error(node, f"`has` takes one field with a dot before its name; {hint}")
        return checked.Has(BOOL, self.select(argument))

    def _quantifier(self, node: syntax.Call) -> checked.Node:
        variable = node.arguments[0] if len(node.arguments) == 2 else None
        if node.target is None or not isinstance(variable, syntax.Name):
            raise self._error(node, f"`{node.name}` takes a name and a condition: list.{node.name}(x, x > 1)")
        level = len(self._variables) + 1
        if level > MAX_QUANTIFIERS:
            raise self._error(node, f"`exists` and `all` nest at most {MAX_QUANTIFIERS} deep")
        if variable.name in (*self._roots, *self._variables):
            raise self._error(variable, f"`{variable.name}` already means something; choose another name")
        items = self._check(node.target)
        if items.type != DYN and items.type.element is None:
            raise self._error(node, f"`{node.name}` looks into a list or a map, and this is {a(items.type)}")
        element = STRING if kinds.is_map(items.type) else items.type.element or DYN
        self._variables[variable.name] = checked.Variable(element, level)
        body = self.condition(node.arguments[1], f"the condition of `{node.name}`")
        del self._variables[variable.name]
        return checked.Quantifier(BOOL, node.name, items, level, body)  # type: ignore[arg-type]

    def _conversion(self, node: syntax.Call, argument: syntax.Node) -> checked.Node:
        value = self._check(argument)
        if node.name == "size":
            possible = value.type in (STRING, DYN) or value.type.element is not None
        elif node.target is not None:
            raise self._error(node, f"`{node.name}` is a function; write {node.name}(…)")
        else:
            possible = value.type in kinds.NUMERIC | {STRING, DYN} or (
                node.name == "string" and value.type == BOOL
            )
        if not possible:
            raise self._error(node, f"`{node.name}` does not take {a(value.type)}")
        return checked.Convert(_CONVERSIONS[node.name], node.name, value)

    def _on_string(self, node: syntax.Call, arguments: tuple[syntax.Node, ...]) -> checked.Node:
        values = [self._check(argument) for argument in arguments]
        for argument, value in zip(arguments, values, strict=True):
            if value.type not in (STRING, DYN):
                raise self._error(argument, f"`{node.name}` takes strings, and this is {a(value.type)}")
        if node.name in _CASES:
            return checked.Convert(STRING, node.name, values[0])
        if node.name == "matches":
            return self._matches(arguments[1], *values)
        return checked.StringTest(BOOL, node.name, *values)  # type: ignore[arg-type]

    def _matches(self, at: syntax.Node, subject: checked.Node, pattern: checked.Node) -> checked.Node:
        if not isinstance(pattern, checked.Literal) or not isinstance(pattern.value, str):
            raise self._error(at, "the pattern of `matches` must be written out as a string")
        try:
            search = regexp.compile_pattern(pattern.value)
        except regexp.PatternError as error:
            raise self._error(at, f"the pattern cannot be used: {error}") from None
        return checked.Matches(BOOL, subject, pattern.value, search)


def _has_operator(kind: Type, sign: str, dynamic: bool) -> bool:
    """Whether the operator takes two values of the type, or one where the other is dynamic."""
    if kind == DOUBLE:
        return sign != "%"
    if kind == STRING or kinds.is_list(kind):
        return sign == "+"
    # Nothing in JSON is a uint.
    return kind in (INT, DYN) or (kind == UINT and not dynamic)


_CHECKS: dict[type[syntax.Node], Callable[[_Checker, Any], checked.Node]] = {
    syntax.Literal: _Checker.literal,
    syntax.Name: _Checker.name,
    syntax.Select: _Checker.select,
    syntax.Index: _Checker.index,
    syntax.Call: _Checker.call,
    syntax.ListOf: _Checker.list_of,
    syntax.Unary: _Checker.unary,
    syntax.Binary: _Checker.binary,
    syntax.Logical: _Checker.logical,
    syntax.Conditional: _Checker.conditional,
}
