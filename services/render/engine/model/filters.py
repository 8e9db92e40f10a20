"""The filters of our templates: Liquid's, and some more, none of which fails over a value.

What a caller sent decides what a filter gets: nil, a number as a text, a list with holes. A mail goes out
all the same. What the template itself does wrong, such as a filter without its argument, is refused.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import wraps
from typing import Any

from liquid import Markup
from liquid.builtin.expressions.arguments import KeywordArgument, PositionalArgument
from liquid.exceptions import FilterArgumentError, LiquidError

from services.render.engine.model.times import moment_of
from services.render.engine.model.values import (
    Number,
    field_of,
    integer_text,
    is_nothing,
    items_of,
    json_of,
    number_of,
    text_of,
)

Filter = Callable[..., Any]

_TEXT_FILTERS = (
    *("append", "prepend", "capitalize", "downcase", "upcase", "escape", "escape_once", "escapejs", "safe"),
    *("lstrip", "rstrip", "strip", "squish", "strip_html", "strip_newlines", "newline_to_br", "split"),
    *("remove", "remove_first", "remove_last", "replace", "replace_first", "replace_last"),
    *("url_encode", "url_decode", "base64_encode", "base64_decode"),
    *("base64_url_safe_encode", "base64_url_safe_decode"),
)
_MOST_MONEY_DIGITS = 15
_ENCODING = frozenset({"json", "escapejs", "url_encode", "base64_encode", "base64_url_safe_encode"})
_OF_THE_TEXT = _ENCODING | {"escape", "truncate", "truncatewords", "money"}
# What does the same to a text and to one that is escaped.
_INDIFFERENT = frozenset(
    {"safe", "default", "concat", "append", "prepend", "strip", "lstrip", "rstrip"}
    | {"strip_newlines", "newline_to_br"}
)
# What a value may do to a filter; what only the template can do is told apart by the filter's signature.
_FAILURES = (LiquidError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


def tolerant_filters(liquid: Mapping[str, Filter]) -> dict[str, Filter]:
    """All filters by name; `liquid` are those of the library."""
    filters = dict(liquid)
    filters |= {name: _of_text(liquid[name]) for name in _TEXT_FILTERS}
    filters |= {
        "abs": _of_number(abs),
        "ceil": _of_number(lambda value: int(_decimal(value).to_integral_value(ROUND_CEILING))),
        "floor": _of_number(lambda value: int(_decimal(value).to_integral_value(ROUND_FLOOR))),
        "plus": _of_numbers(lambda one, other: one + other),
        "minus": _of_numbers(lambda one, other: one - other),
        "times": _of_numbers(lambda one, other: one * other),
        "divided_by": _of_numbers(_divided),
        "modulo": _of_numbers(_modulo),
        "at_least": _bound(max),
        "at_most": _bound(min),
        "round": _round,
        "sum": _sum,
        "join": _join,
        "concat": lambda left, right: [*items_of(left), *items_of(right)],
        "reverse": lambda left: items_of(left)[::-1],
        "compact": _compact,
        "map": lambda left, name: [field_of(item, name) for item in items_of(left)],
        "sort": _sort,
        "sort_natural": _sort_natural,
        "uniq": _uniq,
        "where": lambda left, name, value=None: [i for i in items_of(left) if _fits(i, name, value)],
        "reject": lambda left, name, value=None: [
            item for item in items_of(left) if not is_nothing(name) and not _fits(item, name, value)
        ],
        "find": lambda left, name, value=None: next(
            (item for item in items_of(left) if _fits(item, name, value)), None
        ),
        "find_index": lambda left, name, value=None: next(
            (number for number, item in enumerate(items_of(left)) if _fits(item, name, value)), None
        ),
        "has": lambda left, name, value=None: any(_fits(item, name, value) for item in items_of(left)),
        "truncate": _with_counts(liquid["truncate"], 50),
        "truncatewords": _with_counts(liquid["truncatewords"], 15),
        "slice": _slice,
        "date": _date_by(liquid["date"]),
        "default": _default,
        "money": _money,
        "json": _json,
    }
    return {name: _tolerant(name, filter_) for name, filter_ in filters.items()}


def _tolerant(name: str, filter_: Filter) -> Filter:
    """The filter, giving nothing where a value is too much for it."""
    signature = inspect.signature(filter_)

    @wraps(filter_)
    def call(*values: Any, **named: Any) -> Any:
        try:
            if name in _INDIFFERENT or not any(isinstance(value, Markup) for value in values):
                return filter_(*values, **named)
            return _of_markup(name, filter_, values, named)
        except _FAILURES:
            return None

    def validate(environment: object, token: Any, name: str, arguments: Iterable[Any]) -> None:
        """Called by the library when it parses a template."""
        given = [argument for argument in arguments if isinstance(argument, PositionalArgument)]
        named = {argument.name for argument in arguments if isinstance(argument, KeywordArgument)}
        named |= {"environment"} & signature.parameters.keys()
        try:
            signature.bind(None, *given, **dict.fromkeys(named))
        except TypeError as error:
            raise FilterArgumentError(f"{name}: {error}", token=token) from error

    call.validate = validate  # type: ignore[attr-defined]
    return call


# ---- what is escaped already


def _of_markup(name: str, filter_: Filter, values: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Works on the text that people read, and escapes what comes of it once.

    What has tags of the template's own stays markup, where the filter does not cut it or encode it.
    """
    is_markup = isinstance(values[0], Markup)
    if name not in _OF_THE_TEXT and not (is_markup and all(map(_is_text, values))):
        found = filter_(*values, **named)
        # It moves nothing but blanks.
        return Markup(found) if name == "squish" else found
    text, *others = (value.unescape() if isinstance(value, Markup) else value for value in values)
    found = filter_(text, *others, **named)
    if name in _ENCODING or not is_markup:
        return found
    return values[0] if found == text else _escaped(found)


def _is_text(value: object) -> bool:
    return not isinstance(value, Markup) or not any(character in value for character in '<>"')


def _escaped(found: object) -> object:
    if isinstance(found, list):
        return [_escaped(item) for item in found]
    return Markup.escape(found) if isinstance(found, str) else found


# ---- texts


def _of_text(filter_: Filter) -> Filter:
    @wraps(filter_)
    def call(left: object, *values: object, **named: Any) -> Any:
        return filter_(text_of(left), *map(text_of, values), **named)

    return call


def _with_counts(filter_: Filter, default: int) -> Filter:
    def call(left: object, count: object = default, end: object = "...") -> Any:
        number = number_of(count)
        return filter_(text_of(left), default if number is None else int(number), text_of(end))

    return call


def _slice(left: object, start: object, length: object = 1) -> object:
    begin, count = number_of(start), number_of(length)
    values: Any = left if isinstance(left, list | tuple | range) else text_of(left)
    if begin is None:
        return values if isinstance(values, str) else list(values)
    at = int(begin) if begin >= 0 else len(values) + int(begin)
    if at < 0:
        return "" if isinstance(values, str) else []
    found = values[at : at + max(0, int(1 if count is None else count))]
    return found if isinstance(values, str) else list(found)


def _default(left: object, instead: object = "", *, allow_false: object = False) -> object:
    """`instead` for nil, false, an empty or blank text, and an empty list or object."""
    if left is False:
        return left if allow_false is True else instead
    if is_nothing(left):
        return instead
    if isinstance(left, str):
        return left if left.strip() else instead
    return instead if isinstance(left, list | tuple | Mapping) and not left else left


def _json(value: object) -> str:
    """A value as JSON, null for a missing one; with `| safe` it may stand in a script."""
    text = json_of(None if is_nothing(value) else value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# ---- numbers


def _decimal(value: Number) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def _of_number(compute: Callable[[Number], Number]) -> Filter:
    def call(left: object) -> Number | None:
        number = number_of(left)
        return None if number is None else compute(number)

    return call


def _of_numbers(compute: Callable[[Any, Any], Any]) -> Filter:
    """Exact, as people count: 0.1 and 0.2 are 0.3. What is worked out of something unknown is unknown."""

    def call(left: object, right: object) -> Number | None:
        one, other = number_of(left), number_of(right)
        if one is None or other is None:
            return None
        if isinstance(one, int) and isinstance(other, int):
            return number_of(compute(one, other))
        return number_of(compute(_decimal(one), _decimal(other)))

    return call


def _divided(one: Any, other: Any) -> Any:
    return one // other if isinstance(one, int) else one / other


def _modulo(one: Any, other: Any) -> Any:
    # Of decimals the sign would be the dividend's.
    return one % other if isinstance(one, int) else one - other * (one / other).to_integral_value(ROUND_FLOOR)


def _bound(choose: Callable[[Number, Number], Number]) -> Filter:
    def call(left: object, limit: object) -> Number | None:
        one, other = number_of(left), number_of(limit)
        return one if one is None or other is None else choose(one, other)

    return call


def _round(left: object, digits: object = None) -> Number | None:
    """Halves go up, as in shops, not to the even neighbour."""
    number, wanted = number_of(left), number_of(digits)
    places = int(max(-30, min(wanted or 0, 30)))
    if number is None or (isinstance(number, int) and places >= 0):
        return number
    if isinstance(number, int):
        unit = int(10**-places)
        return (abs(number) + unit // 2) // unit * (unit if number > 0 else -unit)
    rounded = _decimal(number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return float(rounded) if places > 0 else int(rounded)


def _sum(left: object, name: object = None) -> Number:
    """Of all that are numbers."""
    values = items_of(left) if is_nothing(name) else [field_of(item, name) for item in items_of(left)]
    numbers = [number for number in map(number_of, values) if number is not None]
    if all(isinstance(number, int) for number in numbers):
        return sum(numbers)
    return float(sum(map(_decimal, numbers)))


def _money(value: object, symbol: object = "") -> str:
    """1234.5 as `1,234.50`, behind a symbol; what is no amount stays as it is."""
    number = number_of(value)
    if number is None:
        return text_of(value)
    amount = _decimal(number)
    if amount.adjusted() > _MOST_MONEY_DIGITS:
        return integer_text(number) if isinstance(number, int) else text_of(value)
    rounded = abs(amount).quantize(Decimal("0.01"), ROUND_HALF_UP)
    sign = "-" if amount < 0 and rounded else ""
    return f"{sign}{text_of(symbol)}{rounded:,}"


# ---- lists


def _join(left: object, separator: object = " ") -> str:
    between, texts = text_of(separator), [text_of(item) for item in items_of(left)]
    # In HTML a separator of the template's own is safe, and escapes the items that it joins.
    if any(isinstance(text, Markup) for text in texts):
        between = Markup.escape(between)
    return between.join(texts)


def _compact(left: object, name: object = None) -> list[object]:
    if is_nothing(name):
        return [item for item in items_of(left) if not is_nothing(item)]
    return [item for item in items_of(left) if field_of(item, name) is not None]


def _uniq(left: object, name: object = None) -> list[object]:
    seen: set[str] = set()
    found: list[object] = []
    for item in items_of(left):
        value = item if is_nothing(name) else field_of(item, name)
        # As JSON a 1 is not "1", and objects can be compared.
        mark = json_of(value)
        if mark not in seen:
            seen.add(mark)
            found.append(item)
    return found


def _sort(left: object, name: object = None) -> list[object]:
    """Numbers, then texts, then what has no order; what lacks the key comes last."""
    items = items_of(left)
    values = items if is_nothing(name) else [field_of(item, name) for item in items]
    # Among numbers "12.50" is one, too; among texts it is a text.
    has_numbers = any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    def place(value: object) -> tuple[int, Number, str]:
        number = number_of(value) if has_numbers or not isinstance(value, str) else None
        if number is not None:
            return 0, number, ""
        if isinstance(value, str):
            return 1, 0, value
        return (3 if is_nothing(value) else 2), 0, ""

    return _in_order(items, map(place, values))


def _sort_natural(left: object, name: object = None) -> list[object]:
    items = items_of(left)
    values = items if is_nothing(name) else [field_of(item, name) for item in items]
    return _in_order(items, ((is_nothing(value), text_of(value).casefold()) for value in values))


def _in_order(items: list[object], places: Iterable[Any]) -> list[object]:
    return [item for _, item in sorted(zip(places, items, strict=True), key=lambda pair: pair[0])]


def _fits(item: object, name: object, value: object) -> bool:
    """Whether an object has this value under a name, or any but false and nil where none is asked for."""
    found = field_of(item, name)
    if is_nothing(value):
        return not (is_nothing(found) or found is False)
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    return found == value


# ---- times


def _date_by(liquid: Filter) -> Filter:
    """A time in a form of strftime's, in its own zone, else UTC; unchanged where it is none."""

    @wraps(liquid)
    def call(value: object, form: object, **named: Any) -> Any:
        if is_nothing(value) or isinstance(value, bool) or (isinstance(value, str) and not value.strip()):
            return None
        if not isinstance(value, str | int | float):
            return None
        moment = moment_of(value)
        if moment is None or is_nothing(form) or not text_of(form):
            return value
        try:
            return liquid(moment, _with_count(text_of(form), moment), **named)
        except _FAILURES:
            return value

    return call


def _with_count(form: str, moment: datetime) -> str:
    """`%s` as the seconds since 1970: the library would count them in the machine's own zone."""
    count = str(int(moment.timestamp()))
    return type(form)(re.sub("(%%)|%s", lambda found: found[1] or count, form))
