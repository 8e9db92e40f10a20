"""Writes a parsed rule back as text, the same text for every way to space and quote it."""

import json
from collections.abc import Callable
from typing import Any

from libs.expressions import syntax

_TERNARY, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)
_BINARY = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}


def text_of(node: syntax.Node) -> str:
    return _text(node)[0]


def _text(node: syntax.Node) -> tuple[str, int]:
    return _WRITERS[type(node)](node)


def _within(node: syntax.Node, binding: int) -> str:
    """The node's text, in parentheses where it binds less tightly than its place asks for."""
    text, own = _text(node)
    return text if own >= binding else f"({text})"


def _list(nodes: tuple[syntax.Node, ...]) -> str:
    return ", ".join(text_of(node) for node in nodes)


def _string(value: str) -> str:
    # JSON's escapes are all CEL's too.
    return json.dumps(value, ensure_ascii=False)


def _literal(node: syntax.Literal) -> tuple[str, int]:
    if isinstance(node.value, str):
        return _string(node.value), _MEMBER
    if node.value is None or isinstance(node.value, bool):
        return json.dumps(node.value), _MEMBER
    return repr(node.value) + ("u" if node.kind == "uint" else ""), _MEMBER


def _member(node: syntax.Select) -> tuple[str, int]:
    name = node.name
    plain = name.isidentifier() and name not in ("true", "false", "null", "in")
    return f"{_within(node.operand, _MEMBER)}.{name if plain else f'`{name}`'}", _MEMBER


def _index(node: syntax.Index) -> tuple[str, int]:
    return f"{_within(node.operand, _MEMBER)}[{text_of(node.key)}]", _MEMBER


def _call(node: syntax.Call) -> tuple[str, int]:
    target = "" if node.target is None else _within(node.target, _MEMBER) + "."
    return f"{target}{node.name}({_list(node.arguments)})", _MEMBER


def _unary(node: syntax.Unary) -> tuple[str, int]:
    text, own = _text(node.operand)
    if node.operator == "-":
        # `-5` is read as one literal, so a minus before digits needs parentheses to stay an operator.
        bare = text.startswith("-") or (own == _MEMBER and not text[0].isdigit())
    else:
        bare = text.startswith("!") or (own == _MEMBER and not text.startswith("-"))
    return node.operator + (text if bare and own >= _UNARY else f"({text})"), _UNARY


def _operation(node: syntax.Binary) -> tuple[str, int]:
    binding = _BINARY.get(node.operator, _RELATION)
    left, right = _within(node.left, binding), _within(node.right, binding + 1)
    return f"{left} {node.operator} {right}", binding


def _logical(node: syntax.Logical) -> tuple[str, int]:
    binding = _OR if node.operator == "||" else _AND
    operands = (_within(operand, binding + 1) for operand in node.operands)
    return f" {node.operator} ".join(operands), binding


def _conditional(node: syntax.Conditional) -> tuple[str, int]:
    condition, then = _within(node.condition, _OR), _within(node.then, _OR)
    return f"{condition} ? {then} : {text_of(node.otherwise)}", _TERNARY


_WRITERS: dict[type[syntax.Node], Callable[[Any], tuple[str, int]]] = {
    syntax.Literal: _literal,
    syntax.Name: lambda node: (node.name, _MEMBER),
    syntax.Select: _member,
    syntax.Index: _index,
    syntax.Call: _call,
    syntax.ListOf: lambda node: (f"[{_list(node.items)}]", _MEMBER),
    syntax.Unary: _unary,
    syntax.Binary: _operation,
    syntax.Logical: _logical,
    syntax.Conditional: _conditional,
}
