"""Amounts as the world writes them: numbers, and texts in which only one reading is possible."""

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Any, Final

_LONGEST: Final = 40
_DIGITS: Final = 30
# Groups of three, or as India groups them: 1,299.00  1.299,00  1 299,00  1'299.00  12,34,567.00
_GROUPS: Final = r"[0-9]{1,3}(?:%s[0-9]{3})+|[0-9]{1,2}(?:%s[0-9]{2})+%s[0-9]{3}"
_PLAIN: Final = re.compile(r"(?=[.,]?[0-9])([0-9]*)(?:[.,]([0-9]+))?")
_GROUPED: Final = [
    (re.compile(rf"({_GROUPS.replace('%s', re.escape(mark))})(?:{decimal}([0-9]+))?"), mark)
    for mark, decimal in ((",", r"\."), (".", ","), (" ", "[.,]"), ("'", "[.,]"))
]
_MONEY: Final = re.compile(r"([A-Za-z]{3}|[$€£¥₹])?\s*([-+]?[0-9.,][0-9., ']*)\s*([A-Za-z]{3}|[$€£¥₹])?")
# The signs that stand for one currency alone: a dollar is many countries', and ¥ two's.
_SIGNS: Final = {"€": "EUR", "£": "GBP", "₹": "INR"}
_CODE: Final = re.compile("[A-Za-z]{3}")


def read_amount(value: Any) -> Decimal | None:
    """A number, or a text that can be read as one number only; None for anything else.

    `"2"`, `"12.5"`, `"12,50"`, `"1,299.00"`, `"1.299,00"` and `"1 299,00"` are read. `"1,299"` and `"1.299"`
    are not: each is 1299 in one country and 1.299 in another.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        number = Decimal(repr(value) if isinstance(value, float) else value)
        return number if number.is_finite() else None
    return _of_text(_normal(value)) if isinstance(value, str) else None


def read_money(value: Any) -> tuple[Decimal, str] | None:
    """An amount and its currency, which may stand beside a text's number: `"€ 12,50"`, `"USD 3"`.

    The currency is three capital letters, or empty where the value names none, or one that is several
    countries'. None where there is no amount.
    """
    if not isinstance(value, str):
        amount = read_amount(value)
        return None if amount is None else (amount, "")
    parts = _MONEY.fullmatch(_normal(value))
    if parts is None:
        return None
    before, number, after = parts.groups()
    amount = _of_text(number.strip())
    names = {read_currency(name) for name in (before, after) if name} - {""}
    return None if amount is None or len(names) > 1 else (amount, "".join(names))


def read_currency(value: Any) -> str:
    """A currency's code in capital letters; empty for what names none for sure."""
    text = _normal(value) if isinstance(value, str) else ""
    return _SIGNS.get(text) or (text.upper() if _CODE.fullmatch(text) else "")


def _normal(text: str) -> str:
    """Without the differences that only fonts and layouts make: wide digits, no-break spaces, apostrophes."""
    if len(text) > _LONGEST:
        return ""
    return unicodedata.normalize("NFKC", text).replace("\u2019", "'").strip()


def _of_text(text: str) -> Decimal | None:
    sign = -1 if text.startswith("-") else 1
    digits = _digits(text[1:] if text[:1] in ("-", "+") else text)
    if digits is None or len(digits) > _DIGITS:
        return None
    try:
        return sign * Decimal(digits)
    except InvalidOperation:
        return None


def _digits(text: str) -> str | None:
    """A number as Python writes it; None where there are two ways to read it, or none."""
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        whole, part = plain.groups()
        # Three digits behind one mark may be thousands, unless what stands before it can't be a group.
        grouped = part is not None and len(part) == 3 and 0 < len(whole) <= 3 and whole[0] != "0"
        return None if grouped else f"{whole or 0}.{part or 0}"
    for pattern, mark in _GROUPED:
        found = pattern.fullmatch(text)
        if found is not None:
            return f"{found[1].replace(mark, '')}.{found[2] or 0}"
    return None
