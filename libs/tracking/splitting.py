"""Takes JSON apart where a parser gives up: by its strings and brackets alone, whatever stands inside.

So one item of a batch that is no JSON (a lone surrogate, NaN, a control character, thousands of levels) costs
nobody else. Only where the strings or brackets themselves do not add up can nobody tell what belongs where.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

# A string ends at its quote, or at the end of all. Possessive, since a quote that never ends must not be
# looked for again from each of the quotes behind it.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_CLOSES: Final = {b"[": b"]"[0], b"{": b"}"[0]}
_STRING: Final = re.compile(rb'\s*("(?:[^"\\]++|\\.)*+")\s*:', re.DOTALL)
# Far more than a batch of the largest size has: what has more only wants to keep us busy.
_MOST_TOKENS: Final = 200_000


class Unsplittable(ValueError):
    """The strings or brackets do not add up, or are too many."""


def items(array: bytes) -> list[bytes]:
    """The items of an array, each as it stands there; Unsplittable where it is none."""
    return [part.strip() for part in _parts(array, b"[")]


def members(body: bytes) -> dict[str, bytes]:
    """The values of an object as they stand there, by name; Unsplittable where it is none.

    Of a name that stands twice the last one counts; a name that can't be read is left out.
    """
    found = {}
    for part in _parts(body, b"{"):
        name = _STRING.match(part)
        if name is None:
            continue
        try:
            found[msgspec.json.decode(name[1], type=str)] = part[name.end() :].strip()
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def _parts(text: bytes, opening: bytes) -> Iterator[bytes]:
    """What stands between the commas of the outermost brackets."""
    text = text.strip()
    if text[:1] != opening:
        raise Unsplittable
    open_ = bytearray()
    begin, end = 1, -1
    for count, token in enumerate(_TOKEN.finditer(text)):
        if end >= 0 or count > _MOST_TOKENS:
            raise Unsplittable
        sign = token[0]
        if sign in _CLOSES:
            open_.append(_CLOSES[sign])
        elif sign == b",":
            if len(open_) == 1:
                yield text[begin : token.start()]
                begin = token.end()
        elif sign in (b"]", b"}"):
            if not open_ or open_.pop() != sign[0]:
                raise Unsplittable
            if not open_:
                end = token.start()
    if end < 0 or end + 1 != len(text):
        raise Unsplittable
    if begin > 1 or text[begin:end].strip():
        yield text[begin:end]
