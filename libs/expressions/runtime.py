"""What generated code calls: CEL's operators over JSON values, with errors as values."""

import math
import operator
import re
from collections.abc import Callable
from typing import Any, Final

from libs.expressions.lexer import INT_MAX, UINT_MAX

INT_MIN: Final = -INT_MAX - 1


class _Error:
    """CEL's error value: equal to nothing but itself, and no member of any JSON document."""

    def __repr__(self) -> str:
        return "ERROR"


ERROR: Final = _Error()
NUMBERS: Final = frozenset({int, float})

_DOUBLE = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?P<special>[+-]?(?:inf|infinity|nan))",
    re.IGNORECASE,
)
_INTEGER = re.compile(r"([+-]?)0*([0-9]{1,19})")
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


def equal(left: Any, right: Any) -> Any:
    if left is ERROR or right is ERROR:
        return ERROR
    return _same(left, right)


def _same(left: Any, right: Any) -> bool:
    # Not by recursion: JSON may nest deeper than Python's stack.
    pending = [(left, right)]
    while pending:
        one, other = pending.pop()
        kind = type(one)
        if kind is not type(other):
            if kind not in NUMBERS or type(other) not in NUMBERS or one != other:
                return False
        elif kind is list:
            if len(one) != len(other):
                return False
            pending.extend(zip(one, other, strict=True))
        elif kind is dict:
            if one.keys() != other.keys():
                return False
            pending.extend((value, other[key]) for key, value in one.items())
        elif one != other:
            return False
    return True


def less(left: Any, right: Any) -> Any:
    return left < right if _ordered(left, right) else ERROR


def at_most(left: Any, right: Any) -> Any:
    return left <= right if _ordered(left, right) else ERROR


def _ordered(left: Any, right: Any) -> bool:
    kind = type(left)
    if kind in NUMBERS:
        return type(right) in NUMBERS
    return (kind is str or kind is bool) and kind is type(right)


def contains(item: Any, container: Any) -> Any:
    if item is ERROR:
        return ERROR
    if type(container) is list:
        return any(_same(item, element) for element in container)
    if type(container) is dict:
        return type(item) is str and item in container
    return ERROR


def member(container: Any, key: Any) -> Any:
    if type(container) is dict:
        return container.get(key, ERROR) if type(key) is str else ERROR
    if type(container) is not list:
        return ERROR
    if type(key) is float and key.is_integer():
        key = int(key)
    return container[key] if type(key) is int and 0 <= key < len(container) else ERROR


def list_of(*items: Any) -> Any:
    return ERROR if ERROR in items else list(items)


def _arithmetic(
    on_ints: Callable[[int, int], int],
    on_doubles: Callable[[float, float], float] | None,
    joins: bool = False,
) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        kind = type(left)
        if kind is not type(right):
            # JSON has one kind of number: whether it happens to be whole makes no difference.
            if kind not in NUMBERS or type(right) not in NUMBERS or on_doubles is None:
                return ERROR
            return _on_doubles(on_doubles, left, right)
        if kind is int:
            return _within(on_ints, left, right, INT_MIN, INT_MAX)
        if kind is float and on_doubles is not None:
            return on_doubles(left, right)
        return left + right if joins and (kind is str or kind is list) else ERROR

    return apply


def _on_doubles(compute: Callable[[float, float], float], left: float, right: float) -> Any:
    try:
        return compute(float(left), float(right))
    except OverflowError:
        return ERROR


def _unsigned(on_ints: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        return ERROR if left is ERROR or right is ERROR else _within(on_ints, left, right, 0, UINT_MAX)

    return apply


def _within(compute: Callable[[int, int], int], left: int, right: int, low: int, high: int) -> Any:
    if right == 0 and (compute is _quotient or compute is _remainder):
        return ERROR
    result = compute(left, right)
    return result if low <= result <= high else ERROR


def _quotient(left: int, right: int) -> int:
    # CEL rounds towards zero, Python down.
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    return left - right * _quotient(left, right)


def _ratio(left: float, right: float) -> float:
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_ON_INTS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _quotient,
    "%": _remainder,
}
ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": _arithmetic(operator.add, operator.add, joins=True),
    "-": _arithmetic(operator.sub, operator.sub),
    "*": _arithmetic(operator.mul, operator.mul),
    "/": _arithmetic(_quotient, _ratio),
    "%": _arithmetic(_remainder, None),
}
UNSIGNED: Final = {sign: _unsigned(compute) for sign, compute in _ON_INTS.items()}


def negate(value: Any) -> Any:
    if type(value) is float:
        return -value
    return -value if type(value) is int and -value <= INT_MAX else ERROR


def size(value: Any) -> Any:
    return len(value) if type(value) in (str, list, dict) else ERROR


def to_int(value: Any) -> Any:
    if type(value) is int:
        return value if INT_MIN <= value <= INT_MAX else ERROR
    if type(value) is float:
        # The bounds themselves are out, as in cel-go: a double there may stand for a number beyond.
        return int(value) if INT_MIN < value < INT_MAX else ERROR
    match = _INTEGER.fullmatch(value) if type(value) is str else None
    if match is None:
        return ERROR
    number = -int(match[2]) if match[1] == "-" else int(match[2])
    return number if INT_MIN <= number <= INT_MAX else ERROR


def to_double(value: Any) -> Any:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value) if INT_MIN <= value <= UINT_MAX else ERROR
    match = _DOUBLE.fullmatch(value) if type(value) is str else None
    if match is None:
        return ERROR
    number = float(value)
    return ERROR if math.isinf(number) and match["special"] is None else number


def to_string(value: Any) -> Any:
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float:
        return repr(value).removesuffix(".0")
    return str(value) if type(value) is int and INT_MIN <= value <= UINT_MAX else ERROR


def lower_ascii(value: Any) -> Any:
    return value.translate(_LOWER) if type(value) is str else ERROR


def upper_ascii(value: Any) -> Any:
    return value.translate(_UPPER) if type(value) is str else ERROR


CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "size": size,
    "int": to_int,
    "double": to_double,
    "string": to_string,
    "lowerAscii": lower_ascii,
    "upperAscii": upper_ascii,
}


def exists(items: Any, holds: Callable[[Any], Any]) -> Any:
    return _quantify(items, holds, decisive=True)


def for_all(items: Any, holds: Callable[[Any], Any]) -> Any:
    return _quantify(items, holds, decisive=False)


def _quantify(items: Any, holds: Callable[[Any], Any], decisive: bool) -> Any:
    if type(items) is not list and type(items) is not dict:
        return ERROR
    result: Any = not decisive
    for item in items:
        held = holds(item)
        if held is decisive:
            return decisive
        if held is ERROR:
            result = ERROR
    return result


QUANTIFIERS: Final = {"exists": exists, "all": for_all}
