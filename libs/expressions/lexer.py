"""Cuts the text of a rule into CEL's tokens."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from libs.expressions.errors import RuleError, error_at

INT_MAX = 2**63 - 1
UINT_MAX = 2**64 - 1


class Kind(Enum):
    NAME = "a name"
    FIELD = "a quoted field name"
    INT = "an int"
    UINT = "a uint"
    DOUBLE = "a double"
    STRING = "a string"
    SIGN = "an operator"
    END = "the end of the rule"


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    value: str | int | float
    offset: int


_TOKEN = re.compile(
    r"""
      (?P<space>[\t\n\f\r\ ]+|//[^\r\n]*)
    | (?P<quote>(?P<prefix>[rR]?)(?P<delimiter>\"\"\"|'''|"|'))
    | (?P<bytes>(?:[bB][rR]?|[rR][bB])["'])
    | (?P<double>[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    | (?P<integer>(?:0[xX][0-9a-fA-F]+|[0-9]+)[uU]?)
    | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    | `(?P<field>[a-zA-Z0-9_./\ -]+)`
    | (?P<sign>&&|\|\||[<>=!]=|[-+*/%!<>?:.,()\[\]])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""\\(?:
      (?P<plain>[abfnrtv\\?"'`])
    | [xX](?P<x>[0-9a-fA-F]{2})
    | u(?P<u>[0-9a-fA-F]{4})
    | U(?P<U>[0-9a-fA-F]{8})
    | (?P<octal>[0-3][0-7]{2})
    )""",
    re.VERBOSE,
)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_HINTS = {
    "=": "write == to compare",
    "&": "write && for “and”",
    "|": "write || for “or”",
    "“": 'write plain quotes, "…"',
    "”": 'write plain quotes, "…"',
    "‘": "write plain quotes, '…'",
    "’": "write plain quotes, '…'",
    "#": "comments begin with //",
    "{": "maps cannot be written out in a rule",
}


def tokens_of(text: str) -> Iterator[Token]:
    if stray := _SURROGATE.search(text):
        raise error_at(text, stray.start(), "a lone surrogate is not a character")
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise _unknown_character(text, offset)
        if match["quote"] is not None:
            value, end = _string(text, match)
            yield Token(Kind.STRING, value, offset)
        else:
            end = match.end()
            if match["space"] is None:
                yield _token(text, match)
        offset = end
    yield Token(Kind.END, "", len(text))


def _unknown_character(text: str, offset: int) -> RuleError:
    character = text[offset]
    hint = f"; {_HINTS[character]}" if character in _HINTS else ""
    return error_at(text, offset, f"{character!r} has no meaning here{hint}")


def _token(text: str, match: re.Match[str]) -> Token:
    start = match.start()
    if match["name"] is not None:
        return Token(Kind.NAME, match["name"], start)
    if match["field"] is not None:
        return Token(Kind.FIELD, match["field"], start)
    if match["sign"] is not None:
        return Token(Kind.SIGN, match["sign"], start)
    if match["bytes"] is not None:
        raise error_at(text, start, "bytes have no place in rules; write a string without b")
    _end_of_number(text, match.end())
    if match["double"] is not None:
        return Token(Kind.DOUBLE, _double(text, match), start)
    return _integer(text, match)


def _end_of_number(text: str, end: int) -> None:
    if re.match("[_a-zA-Z0-9]", text[end : end + 1]):
        raise error_at(text, end, f"{text[end]!r} cannot follow a number; put a space or an operator between")


def _double(text: str, match: re.Match[str]) -> float:
    value = float(match["double"])
    if value == float("inf"):
        raise error_at(text, match.start(), "the number is larger than any double")
    return value


def _integer(text: str, match: re.Match[str]) -> Token:
    digits = match["integer"]
    unsigned = digits[-1] in "uU"
    digits = digits.rstrip("uU")
    hexadecimal = digits[:2] in ("0x", "0X")
    # Python refuses to convert thousands of decimal digits; nothing that long is in range.
    significant = digits[2:].lstrip("0") if hexadecimal else digits.lstrip("0")
    value = int(significant[:21] or "0", 16 if hexadecimal else 10)
    # One more than the largest int is let through here: after a minus it is the smallest.
    if value > (UINT_MAX if unsigned else INT_MAX + 1):
        kind = "a uint" if unsigned else "an int"
        raise error_at(text, match.start(), f"the number does not fit into 64 bits of {kind}")
    return Token(Kind.UINT if unsigned else Kind.INT, value, match.start())


def _string(text: str, match: re.Match[str]) -> tuple[str, int]:
    delimiter, raw = match["delimiter"], match["prefix"] != ""
    parts: list[str] = []
    offset = match.end()
    while not text.startswith(delimiter, offset):
        if offset >= len(text) or (len(delimiter) == 1 and text[offset] in "\r\n"):
            raise error_at(text, match.start(), f"the string is never closed; end it with {delimiter}")
        if text[offset] == "\\" and not raw:
            part, offset = _escape(text, offset)
        else:
            part, offset = text[offset], offset + 1
        parts.append(part)
    return "".join(parts), offset + len(delimiter)


def _escape(text: str, offset: int) -> tuple[str, int]:
    match = _ESCAPE.match(text, offset)
    if match is None:
        hint = r'write \\ for a backslash, or r"…" for a raw string'
        raise error_at(text, offset, f"this is no escape sequence; {hint}")
    if plain := match["plain"]:
        return _PLAIN.get(plain, plain), match.end()
    code = int(match["octal"], 8) if match["octal"] else int(match["x"] or match["u"] or match["U"], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise error_at(text, offset, "the escape names no Unicode character")
    return chr(code), match.end()
