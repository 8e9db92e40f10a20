"""Comparisons that no value makes fail: a number that comes as a text is compared as a number.

The library has no place where others can be given: they are put where its own stand, once, at import.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from liquid import Markup
from liquid.builtin import output
from liquid.builtin.expressions import logical, loop
from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.builtin.tags import case_tag, cycle_tag, tablerow_tag

from services.render.engine.model.values import is_nothing, number_of, text_of


def _less(token: object, left: object, right: object) -> bool:
    pair = _comparable(left, right)
    return pair is not None and pair[0] < pair[1]


def _less_or_equal(left: object, right: object) -> bool:
    pair = _comparable(left, right)
    return pair is not None and pair[0] <= pair[1]


def _comparable(left: object, right: object) -> tuple[Any, Any] | None:
    """Two numbers, or two texts; None where they can't be compared."""
    if isinstance(left, str) and isinstance(right, str):
        return left, right
    one, other = number_of(left), number_of(right)
    return None if one is None or other is None else (one, other)


_liquid_equal = logical._eq


def _equal(left: object, right: object) -> bool:
    """The library's own, where also nil and false are blank."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Blank):
            return is_nothing(other) or other is False or _is_blank(other)
    return bool(_liquid_equal(left, right))


def _is_blank(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, Blank | Empty) or (isinstance(value, list | tuple | Mapping) and not value)


def _contains(token: object, left: object, right: object) -> bool:
    if is_nothing(left) or is_nothing(right):
        return False
    if isinstance(left, str):
        return text_of(right) in left
    if isinstance(left, Mapping):
        return text_of(right) in left
    return isinstance(left, Sequence) and right in left


def _shown(value: object, autoescape: bool) -> str:
    """A value as it is written into a mail."""
    if isinstance(value, list | tuple):
        return "".join(_shown(item, autoescape) for item in value)
    text = value if isinstance(value, str) else text_of(value)
    return str(Markup.escape(text)) if autoescape else text


def _count(self: object, value: object, *, token: object) -> int | None:
    """A loop's limit or offset; None where there is none."""
    number = number_of(value)
    return None if number is None else max(0, int(number))


def _columns(self: object, value: object) -> int:
    """How many stand in a row; 0, which is all of them, where it is not known."""
    return int(number_of(value) or 0)


def _slice(
    self: Any,
    items: Iterator[object],
    length: int,
    context: Any,
    *,
    limit: int | None,
    offset: int | str | None,
) -> tuple[Iterator[object], int]:
    """The library's own, where a limit of 0 is one."""
    key = f"{self.identifier}-{self.iterable}"
    begin = min(context.stopindex(key) if offset == "continue" else int(offset or 0), length)
    end = length if limit is None else min(begin + limit, length)
    context.stopindex(key=key, index=end)
    found = islice(items, begin, end)
    return (iter(reversed(list(found))) if self.reversed else found), end - begin


_OURS: tuple[tuple[Any, str, Any], ...] = (
    (logical, "_eq", _equal),
    (case_tag, "_eq", _equal),
    (logical, "_lt", _less),
    (logical, "_le", _less_or_equal),
    (logical, "_contains", _contains),
    (output, "to_liquid_string", _shown),
    (cycle_tag, "to_liquid_string", _shown),
    (loop.LoopExpression, "_to_int", _count),
    (loop.LoopExpression, "_slice", _slice),
    (tablerow_tag.TablerowNode, "_int_or_zero", _columns),
)


def install() -> None:
    """Put them where the library looks for its own; AttributeError where it looks elsewhere."""
    for place, name, ours in _OURS:
        getattr(place, name)
        setattr(place, name, ours)
