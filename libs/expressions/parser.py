"""Parses the text of a rule by CEL's grammar."""

from libs.expressions import syntax
from libs.expressions.errors import RuleError, error_at
from libs.expressions.lexer import INT_MAX, Kind, Token, tokens_of

# CEL asks for at least 32. Every later pass walks the tree by recursion, so its depth is bounded here.
MAX_DEPTH = 48

_PRECEDENCE = {
    "<": 1,
    "<=": 1,
    ">": 1,
    ">=": 1,
    "==": 1,
    "!=": 1,
    "in": 1,
    "+": 2,
    "-": 2,
    "*": 3,
    "/": 3,
    "%": 3,
}
_CONSTANTS: dict[str, tuple[str, bool | None]] = {
    "true": ("bool", True),
    "false": ("bool", False),
    "null": ("null", None),
}
_RESERVED = frozenset(
    "as break const continue else for function if import let loop package namespace return var void "
    "while".split()
)
_WORDS = {"and": "write && for “and”", "or": "write || for “or”", "not": "write ! for “not”"}


def parse(text: str) -> syntax.Node:
    return _Parser(text).rule()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(tokens_of(text))
        self._at = 0
        self._nesting = 0
        self._depths: dict[int, int] = {}

    def rule(self) -> syntax.Node:
        if len(self._tokens) == 1:
            raise self._error(self._next, "the rule is empty")
        node = self._expression()
        if self._next.kind is not Kind.END:
            raise self._unexpected("an operator or the end of the rule")
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _sees(self, *signs: str) -> bool:
        token = self._next
        word = Kind.NAME if signs == ("in",) else Kind.SIGN
        return token.kind is word and token.value in signs

    def _takes(self, sign: str) -> bool:
        if not self._sees(sign):
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._unexpected(f"`{sign}`")

    def _error(self, at: Token | syntax.Node, problem: str) -> RuleError:
        return error_at(self._text, at.offset, problem)

    def _unexpected(self, wanted: str) -> RuleError:
        token = self._next
        if token.kind is Kind.END:
            return self._error(token, f"the rule ends where {wanted} was expected")
        near = [token, self._tokens[self._at - 1]] if self._at else [token]
        words = [str(word.value) for word in near if word.kind is Kind.NAME and word.value in _WORDS]
        hint = f"; {_WORDS[words[0]]}" if words else ""
        found = f"`{token.value}`" if token.kind in (Kind.NAME, Kind.SIGN) else token.kind.value
        return self._error(token, f"{found} stands where {wanted} was expected{hint}")

    def _bounded(self, node: syntax.Node, *children: syntax.Node) -> syntax.Node:
        depth = 1 + max((self._depths[id(child)] for child in children), default=0)
        if depth > MAX_DEPTH:
            raise self._error(node, f"the rule nests deeper than {MAX_DEPTH} levels; split it up")
        self._depths[id(node)] = depth
        return node

    def _expression(self) -> syntax.Node:
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            raise self._error(self._next, f"the rule nests deeper than {MAX_DEPTH} levels; split it up")
        node = self._logical("||")
        if self._sees("?"):
            offset = self._take().offset
            then = self._logical("||")
            self._expect(":")
            otherwise = self._expression()
            node = self._bounded(syntax.Conditional(offset, node, then, otherwise), node, then, otherwise)
        self._nesting -= 1
        return node

    def _logical(self, operator: str) -> syntax.Node:
        first = self._logical("&&") if operator == "||" else self._binary(1)
        if not self._sees(operator):
            return first
        offset = self._next.offset
        operands = [first]
        while self._takes(operator):
            operands.append(self._logical("&&") if operator == "||" else self._binary(1))
        flat = tuple(part for operand in operands for part in _parts(operator, operand))
        return self._bounded(syntax.Logical(offset, operator, flat), *operands)

    def _binary(self, precedence: int) -> syntax.Node:
        left = self._unary()
        while (found := self._operator()) and _PRECEDENCE[found] >= precedence:
            offset = self._take().offset
            right = self._binary(_PRECEDENCE[found] + 1)
            left = self._bounded(syntax.Binary(offset, found, left, right), left, right)
        return left

    def _operator(self) -> str | None:
        value = self._next.value
        is_operator = self._next.kind is Kind.SIGN or self._sees("in")
        return value if is_operator and isinstance(value, str) and value in _PRECEDENCE else None

    def _unary(self) -> syntax.Node:
        signs: list[Token] = []
        while self._sees("!", "-") and (not signs or self._next.value == signs[0].value):
            signs.append(self._take())
        if self._sees("!", "-"):
            raise self._error(self._next, "`!` and `-` do not mix; put parentheses between")
        negative = bool(signs) and signs[-1].value == "-" and self._next.kind is Kind.INT
        node = self._member(signs.pop() if negative else None)
        for sign in reversed(signs):
            node = self._bounded(syntax.Unary(sign.offset, str(sign.value), node), node)
        return node

    def _member(self, minus: Token | None) -> syntax.Node:
        node = self._integer(minus) if minus or self._next.kind is Kind.INT else self._primary()
        while self._sees(".", "["):
            offset = self._take().offset
            if self._tokens[self._at - 1].value == ".":
                node = self._selection(node)
                continue
            key = self._expression()
            self._expect("]")
            node = self._bounded(syntax.Index(offset, node, key), node, key)
        return node

    def _selection(self, operand: syntax.Node) -> syntax.Node:
        name = self._take()
        keyword = name.kind is Kind.NAME and name.value in ("true", "false", "null", "in")
        if name.kind not in (Kind.NAME, Kind.FIELD) or keyword:
            self._at -= 1
            raise self._unexpected("the name of a field")
        if name.kind is Kind.FIELD or not self._sees("("):
            return self._bounded(syntax.Select(name.offset, operand, str(name.value)), operand)
        arguments = self._arguments()
        call = syntax.Call(name.offset, operand, str(name.value), arguments)
        return self._bounded(call, operand, *arguments)

    def _arguments(self) -> tuple[syntax.Node, ...]:
        self._expect("(")
        return self._items(")")

    def _items(self, end: str) -> tuple[syntax.Node, ...]:
        items: list[syntax.Node] = []
        while not self._takes(end):
            if items and not self._takes(","):
                raise self._unexpected(f"`,` or `{end}`")
            items.append(self._expression())
        return tuple(items)

    def _integer(self, minus: Token | None) -> syntax.Node:
        token = self._take()
        value = -int(token.value) if minus else int(token.value)
        if value > INT_MAX:
            raise self._error(token, "the number does not fit into 64 bits of an int")
        return self._bounded(syntax.Literal((minus or token).offset, "int", value))

    def _primary(self) -> syntax.Node:
        if self._sees("."):
            self._take()
            if self._next.kind is not Kind.NAME:
                raise self._unexpected("a name")
        token = self._next
        if token.kind in (Kind.STRING, Kind.DOUBLE, Kind.UINT):
            kind = token.kind.name.lower()
            return self._bounded(syntax.Literal(self._take().offset, kind, token.value))
        if token.kind is Kind.NAME:
            return self._name()
        if self._takes("("):
            node = self._expression()
            self._expect(")")
            return node
        if self._takes("["):
            items = self._items("]")
            return self._bounded(syntax.ListOf(token.offset, items), *items)
        raise self._unexpected("a value")

    def _name(self) -> syntax.Node:
        token = self._take()
        name = str(token.value)
        if name in _CONSTANTS:
            kind, value = _CONSTANTS[name]
            return self._bounded(syntax.Literal(token.offset, kind, value))
        if name == "in" or name in _RESERVED:
            raise self._error(token, f"`{name}` is a reserved word")
        if self._sees("("):
            arguments = self._arguments()
            call = syntax.Call(token.offset, None, name, arguments)
            return self._bounded(call, *arguments)
        return self._bounded(syntax.Name(token.offset, name))


def _parts(operator: str, node: syntax.Node) -> tuple[syntax.Node, ...]:
    if isinstance(node, syntax.Logical) and node.operator == operator:
        return node.operands
    return (node,)
