"""The world's values as templates see them: numbers that come as texts, nothing, lists of anything.

A value that is not known is shown as nothing: never as 0, None, or what Python calls it.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec
from liquid import Markup
from liquid.undefined import is_undefined

Number = int | float

# Thousands stand between marks of one kind, and begin with no 0: "0,500" is a half. India has pairs, too.
_GROUPED = re.compile(
    r"[1-9][0-9]{0,2}([,.'\u2019 \u00a0\u202f\u2009])[0-9]{3}(?:\1[0-9]{3})*"
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"
)
_FRACTION = re.compile(r"(.*)([.,])([0-9]+)")
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?|\.[0-9]+")
_CODE = re.compile(r"[A-Z]{3} ?(?=[0-9.,+-])|(?<=[0-9]) ?[A-Z]{3}")
# The letters before a currency's sign: "US$", "R$".
_SIGN = re.compile(r"[A-Z]{0,3}\$")
_MOST_DIGITS = 4000


def is_nothing(value: object) -> bool:
    """Whether a value is nil, or there is none."""
    return value is None or is_undefined(value)


def number_of(value: object) -> Number | None:
    """The number that a value is or says: 2, "2", "1,299.00", "€ 1.299,00"; None where it says none."""
    if isinstance(value, bool) or is_nothing(value):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        # There is nothing that is not a number in JSON, but what is worked out of it may be.
        return value if value - value == 0 else None
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return _number_in(value) if isinstance(value, str) and len(value) <= _MOST_DIGITS else None


def _number_in(text: str) -> Number | None:
    signs = "".join("$" if unicodedata.category(c) == "Sc" else c for c in text)
    bare = _CODE.sub("", _SIGN.sub("", signs).strip(), count=1).strip()
    sign = -1 if bare[:1] in "-\u2212" and bare else 1
    digits = _normal(bare.lstrip("+-\u2212").strip())
    if not _PLAIN.fullmatch(digits):
        return None
    if digits.isdigit():
        return sign * int(digits)
    number = float(digits)
    return sign * number if number - number == 0 else None


def _normal(digits: str) -> str:
    """With a point before the fraction and nothing between the thousands."""
    if _PLAIN.fullmatch(digits):
        return digits
    if _GROUPED.fullmatch(digits):
        return re.sub(r"[^0-9]", "", digits)
    split = _FRACTION.fullmatch(digits)
    if split is None:
        return digits
    whole, mark, fraction = split.groups()
    if whole.isdigit() or (_GROUPED.fullmatch(whole) and mark not in whole):
        return f"{re.sub(r'[^0-9]', '', whole)}.{fraction}"
    return digits


def text_of(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, str):
        return value
    if is_nothing(value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _digits_of(value)
    if isinstance(value, int):
        return integer_text(value)
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    if isinstance(value, Mapping):
        return json_of(value)
    if isinstance(value, Iterable):
        return "".join(map(text_of, value))
    return str(value)


def integer_text(value: int) -> str:
    """All digits of a whole number; nothing for one that is longer than anybody reads."""
    try:
        return str(value)
    except ValueError:
        return ""


def _digits_of(value: float) -> str:
    """Without an exponent, and without the sign of a 0."""
    if value - value != 0:
        return ""
    text = repr(value or 0.0)
    return format(Decimal(text), "f") if "e" in text else text


def json_of(value: object) -> str:
    """A value as JSON; what JSON doesn't know is null."""
    return msgspec.json.encode(value, enc_hook=_for_json).decode()


def _for_json(value: object) -> object:
    if isinstance(value, Markup | str):
        return "".join(value)
    return list(value) if isinstance(value, range) else None


def items_of(value: object) -> list[object]:
    """A value as a list: of nothing none, of a single thing that thing; lists in it are laid flat."""
    if is_nothing(value):
        return []
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        return [value]
    found: list[object] = []
    for item in value:
        found += items_of(item) if isinstance(item, list | tuple) else [item]
    return found


def field_of(item: object, name: object) -> object:
    """What an object has under a name, by points for what is deeper; None where it has nothing.

    A text has what stands in it, as Liquid has it.
    """
    key = text_of(name)
    if isinstance(item, str):
        return key if key and key in item else None
    if isinstance(item, Mapping) and key in item:
        return item[key]
    for part in key.split("."):
        item = item.get(part) if isinstance(item, Mapping) else None
    return item
