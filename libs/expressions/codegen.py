"""Generates Python from checked rules: one function in which each distinct value is computed once.

A condition becomes two Python conditions, one for "is true" and one for "is false"; where neither holds it
is an error. So && and || absorb errors as CEL wants, and generated code raises nothing. The text of a rule
never gets into the source: names and strings are constants that the source calls k0, k1, …
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from libs.expressions import checked, runtime
from libs.expressions.features import Feature
from libs.expressions.kinds import BOOL, DOUBLE, NUMBER, NUMERIC, STRING, UINT, Type

_SIGNS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "modulo"}
_RUNTIME: dict[str, Any] = {
    "__builtins__": {},
    "ERROR": runtime.ERROR,
    "NUMBERS": runtime.NUMBERS,
    "type": type,
    "str": str,
    "dict": dict,
    "equal": runtime.equal,
    "less": runtime.less,
    "at_most": runtime.at_most,
    "contains": runtime.contains,
    "member": runtime.member,
    "list_of": runtime.list_of,
    "negate": runtime.negate,
    **{f"convert_{name}": function for name, function in runtime.CONVERSIONS.items()},
    **{f"quantify_{kind}": function for kind, function in runtime.QUANTIFIERS.items()},
    **{_SIGNS[sign]: function for sign, function in runtime.ARITHMETIC.items()},
    **{f"unsigned_{_SIGNS[sign]}": function for sign, function in runtime.UNSIGNED.items()},
}


def compile_rules(
    rules: Sequence[tuple[Hashable, checked.Node]], positions: Mapping[Feature, int]
) -> Callable[..., None]:
    """A function of (traits, consent, values, append) that appends the key of each rule that holds."""
    generator = _Generator(positions)
    tests: list[str] = []
    for key, node in rules:
        condition = generator.true(node)
        tests += [f" if {condition}:", f"  append({generator.constant(key)})"]
    return generator.finish("traits, consent, values, append", tests)


def compile_condition(node: checked.Node) -> Callable[[Mapping[str, Any]], bool]:
    """A function of (properties) that tells whether the condition holds."""
    generator = _Generator({})
    condition = generator.true(node)
    return generator.finish("properties", [f" if {condition}:", "  return True", " return False"])


class _View(NamedTuple):
    """A Python expression for a value of one type; None where there is no such value, unless it is total."""

    code: str
    total: bool = False


@dataclass(slots=True)
class _Scope:
    """The statements of one Python function, and which local holds what."""

    lines: list[str] = field(default_factory=list)
    locals: dict[Hashable, str] = field(default_factory=dict)


class _Generator:
    def __init__(self, positions: Mapping[Feature, int]) -> None:
        self._positions = positions
        self._namespace = dict(_RUNTIME)
        self._constants: dict[Hashable, str] = {}
        # One for the function, and one for the body of each quantifier that is being generated.
        self._scopes = [_Scope()]
        # In which scope each local was assigned.
        self._levels: dict[str, int] = {}

    def finish(self, parameters: str, tests: list[str]) -> Callable[..., Any]:
        source = "\n".join([f"def rules({parameters}):", *self._scopes[0].lines, *tests])
        # The text is made of fixed words, our own numbered names and repr() of checked numbers only.
        exec(compile(source, "<rules>", "exec"), self._namespace)  # noqa: S102
        function: Callable[..., Any] = self._namespace["rules"]
        return function

    def constant(self, value: Any, identity: Hashable = None) -> str:
        known = identity or (type(value), repr(value) if isinstance(value, float) else value)
        if known not in self._constants:
            self._constants[known] = f"k{len(self._constants)}"
            self._namespace[self._constants[known]] = value
        return self._constants[known]

    def _local(self, key: Hashable, code: str, *parts: str) -> str:
        """A local that holds the value of the code, assigned as far out as the parts of the code allow."""
        return self._assigned(key, code, max((self._levels.get(part, 0) for part in parts), default=0))

    def _assigned(self, key: Hashable, code: str, level: int) -> str:
        name = f"v{len(self._levels)}"
        self._levels[name] = level
        self._scopes[level].locals[key] = name
        self._scopes[level].lines.append(f" {name} = {code}")
        return name

    def _known(self, key: Hashable) -> str | None:
        return next((scope.locals[key] for scope in self._scopes if key in scope.locals), None)

    # Values: the name of a local, or of a constant, that holds the value or ERROR.

    def value(self, node: checked.Node) -> str:
        if isinstance(node, checked.Literal):
            return self.constant(node.value)
        if isinstance(node, checked.Root):
            return node.name
        if isinstance(node, checked.Variable):
            return self._scopes[node.level].locals["variable", node.level]
        return self._known(node) or self._assign(node)

    def _assign(self, node: checked.Node) -> str:
        if checked.is_condition(node):
            code = f"True if {self.true(node)} else False if {self.false(node)} else ERROR"
            # A condition may use any local that is in sight, so it stays in the innermost scope.
            return self._assigned(node, code, len(self._scopes) - 1)
        code, *parts = _VALUES[type(node)](self, node)
        return self._local(node, code, *parts)

    def event(self, node: checked.Event) -> tuple[str, ...]:
        number = self.number(node).code
        return f"ERROR if {number} is None else {number}", number

    def field(self, node: checked.Field) -> tuple[str, ...]:
        operand, key = self.value(node.operand), self.constant(node.key)
        found = f"{operand}.get({key}, ERROR)"
        if isinstance(node.operand, checked.Root):
            return found, operand
        return f"{found} if type({operand}) is dict else ERROR", operand

    def index(self, node: checked.Index) -> tuple[str, ...]:
        operand, key = self.value(node.operand), self.value(node.key)
        return f"member({operand}, {key})", operand, key

    def list_of(self, node: checked.ListOf) -> tuple[str, ...]:
        items = [self.value(item) for item in node.items]
        return f"list_of({', '.join(items)})", *items

    def negate(self, node: checked.Negate) -> tuple[str, ...]:
        operand = self._summand(node.operand)
        return f"negate({operand})", operand

    def arithmetic(self, node: checked.Arithmetic) -> tuple[str, ...]:
        left, right = self._summand(node.left), self._summand(node.right)
        prefix = "unsigned_" if node.type == UINT else ""
        return f"{prefix}{_SIGNS[node.operator]}({left}, {right})", left, right

    def _summand(self, node: checked.Node) -> str:
        """A number of events is a double in arithmetic, whichever its type."""
        return self.value(checked.Convert(DOUBLE, "double", node) if node.type == NUMBER else node)

    def conditional(self, node: checked.Conditional) -> tuple[str, ...]:
        condition, then, otherwise = (
            self.value(part) for part in (node.condition, node.then, node.otherwise)
        )
        code = f"{then} if {condition} is True else {otherwise} if {condition} is False else ERROR"
        return code, condition, then, otherwise

    def convert(self, node: checked.Convert) -> tuple[str, ...]:
        operand = self.value(node.operand)
        return f"convert_{node.function}({operand})", operand

    # Views: what conditions compare, None instead of an error.

    def number(self, node: checked.Node) -> _View:
        if isinstance(node, checked.Literal):
            return _View(repr(node.value), total=True)
        if isinstance(node, checked.Event):
            # No local: looked up where it is needed, it may never be worked out.
            value = f"values[{self._positions[node.feature]}]"
            return _View(value, total=node.feature.aggregate == "count")
        key = ("number", node)
        if known := self._known(key):
            return _View(known)
        return self._view(key, node, "{0} if type({0}) in NUMBERS else None", NUMERIC)

    def string(self, node: checked.Node) -> _View:
        if isinstance(node, checked.Literal):
            return _View(self.constant(node.value), total=True)
        key = ("string", node)
        if known := self._known(key):
            return _View(known)
        return self._view(key, node, "{0} if type({0}) is str else None", frozenset({STRING}))

    def _view(self, key: Hashable, node: checked.Node, guard: str, certain: frozenset[Type]) -> _View:
        value = self.value(node)
        code = "None if {0} is ERROR else {0}" if node.type in certain else guard
        return _View(self._local(key, code.format(value), value))

    # Conditions: Python text that is true exactly if the node is true, or exactly if it is false.

    def true(self, node: checked.Node) -> str:
        return self._holds(node, True)

    def false(self, node: checked.Node) -> str:
        return self._holds(node, False)

    def _holds(self, node: checked.Node, wanted: bool) -> str:
        if isinstance(node, checked.Literal):
            return str(node.value is wanted)
        if checked.is_condition(node) and self._known(node) is None:
            return _CONDITIONS[type(node)](self, node, wanted)
        return f"{self.value(node)} is {wanted}"

    def negation(self, node: checked.Not, wanted: bool) -> str:
        return self._holds(node.operand, not wanted)

    def conjunction(self, node: checked.And | checked.Or, wanted: bool) -> str:
        joint = " and " if isinstance(node, checked.And) == wanted else " or "
        # The order is free, and what asks of events is dear.
        operands = sorted(node.operands, key=checked.asks_events)
        return f"({joint.join(self._holds(operand, wanted) for operand in operands)})"

    def choice(self, node: checked.Conditional, wanted: bool) -> str:
        # A local, since its text would stand here twice, and again twice in each condition around.
        condition = self.value(node.condition)
        then, otherwise = self._holds(node.then, wanted), self._holds(node.otherwise, wanted)
        return f"({condition} is True and {then} or {condition} is False and {otherwise})"

    def has(self, node: checked.Has, wanted: bool) -> str:
        value = self.value(node.member)
        if wanted:
            return f"{value} is not ERROR"
        if isinstance(node.member.operand, checked.Root):
            return f"{value} is ERROR"
        return f"({value} is ERROR and type({self.value(node.member.operand)}) is dict)"

    def equality(self, node: checked.Equal, wanted: bool) -> str:
        left, right = node.left, node.right
        if isinstance(left, checked.Literal):
            left, right = right, left
        if isinstance(right, checked.Literal) and not isinstance(left, checked.Literal):
            return self._equals_literal(left, right, wanted)
        if left.type in NUMERIC and right.type in NUMERIC:
            return self._compared("==", self.number(left), self.number(right), wanted)
        return f"equal({self.value(left)}, {self.value(right)}) is {wanted}"

    def _equals_literal(self, node: checked.Node, literal: checked.Literal, wanted: bool) -> str:
        if literal.type in NUMERIC:
            if node.type in NUMERIC:
                return self._compared("==", self.number(node), self.number(literal), wanted)
            code, other, relation = self.number(node).code, self.number(literal).code, "=="
        elif literal.type == BOOL and node.type == BOOL:
            return self._holds(node, wanted == literal.value)
        elif literal.type == STRING:
            code, other, relation = self.value(node), self.constant(literal.value), "=="
        else:
            code, other, relation = self.value(node), str(literal.value), "is"
        if wanted:
            return f"{code} {relation} {other}"
        return f"({self.value(node)} is not ERROR and not {code} {relation} {other})"

    def order(self, node: checked.Order, wanted: bool) -> str:
        types = {node.left.type, node.right.type}
        if types & NUMERIC:
            return self._compared(node.operator, self.number(node.left), self.number(node.right), wanted)
        if STRING in types:
            return self._compared(node.operator, self.string(node.left), self.string(node.right), wanted)
        left, right = self.value(node.left), self.value(node.right)
        if node.operator in (">", ">="):
            left, right = right, left
        function = "less" if node.operator in ("<", ">") else "at_most"
        return f"{function}({left}, {right}) is {wanted}"

    def _compared(self, operator: str, left: _View, right: _View, wanted: bool) -> str:
        # Not the opposite operator: every comparison with NaN is false.
        code = f"{left.code} {operator} {right.code}"
        return _guarded(code if wanted else f"not {code}", left, right)

    def membership(self, node: checked.In, wanted: bool) -> str:
        view = self._literals(node)
        if view is not None:
            found = f"{view.code} in {self.constant(_values(node.container))}"
            return found if wanted else f"({self.value(node.item)} is not ERROR and not {found})"
        item, container = self.value(node.item), self.value(node.container)
        return f"contains({item}, {container}) is {wanted}"

    def _literals(self, node: checked.In) -> _View | None:
        """What to look up in a set of Python's, where the list holds nothing but strings or but numbers."""
        items = node.container.items if isinstance(node.container, checked.ListOf) else ()
        if isinstance(node.item, checked.Literal) or not all(
            isinstance(item, checked.Literal) for item in items
        ):
            return None
        types = {item.type for item in items}
        if types == {STRING}:
            return self.string(node.item)
        return self.number(node.item) if types and types <= NUMERIC else None

    def string_test(self, node: checked.StringTest, wanted: bool) -> str:
        operand, argument = self.string(node.operand), self.string(node.argument)
        if node.method == "contains":
            code = f"{argument.code} in {operand.code}"
        else:
            code = f"{operand.code}.{node.method.lower()}({argument.code})"
        return _guarded(code if wanted else f"not {code}", operand, argument)

    def matches(self, node: checked.Matches, wanted: bool) -> str:
        subject = self.string(node.operand)
        search = self.constant(node.search, identity=("matches", node.pattern))
        return _guarded(f"{search}({subject.code}) is {wanted}", subject)

    def quantifier(self, node: checked.Quantifier, wanted: bool) -> str:
        items, holds = self.value(node.range), self._known(("body", node)) or self._body(node)
        return f"quantify_{node.kind}({items}, {holds}) is {wanted}"

    def _body(self, node: checked.Quantifier) -> str:
        """The name of a nested function that tells what the body is for one element."""
        number = len(self._levels)
        variable, name = f"v{number}", f"body{number}"
        scope = _Scope(locals={("variable", node.level): variable})
        self._scopes.append(scope)
        self._levels[variable] = len(self._scopes) - 1
        result = f"True if {self.true(node.body)} else False if {self.false(node.body)} else ERROR"
        self._scopes.pop()
        outer = self._scopes[-1]
        outer.lines += [
            f" def {name}({variable}):",
            *(f" {line}" for line in scope.lines),
            f"  return {result}",
        ]
        outer.locals["body", node] = name
        return name


def _guarded(code: str, *views: _View) -> str:
    return " and ".join([*(f"{view.code} is not None" for view in views if not view.total), code])


def _values(container: checked.Node) -> frozenset[Any]:
    assert isinstance(container, checked.ListOf)
    return frozenset(item.value for item in container.items if isinstance(item, checked.Literal))


_VALUES: dict[type[checked.Node], Callable[[_Generator, Any], tuple[str, ...]]] = {
    checked.Event: _Generator.event,
    checked.Field: _Generator.field,
    checked.Index: _Generator.index,
    checked.ListOf: _Generator.list_of,
    checked.Negate: _Generator.negate,
    checked.Arithmetic: _Generator.arithmetic,
    checked.Conditional: _Generator.conditional,
    checked.Convert: _Generator.convert,
}
_CONDITIONS: dict[type[checked.Node], Callable[[_Generator, Any, bool], str]] = {
    checked.Not: _Generator.negation,
    checked.And: _Generator.conjunction,
    checked.Or: _Generator.conjunction,
    checked.Conditional: _Generator.choice,
    checked.Has: _Generator.has,
    checked.Equal: _Generator.equality,
    checked.Order: _Generator.order,
    checked.In: _Generator.membership,
    checked.StringTest: _Generator.string_test,
    checked.Matches: _Generator.matches,
    checked.Quantifier: _Generator.quantifier,
}
