"""The parts of a template, what may be wrong with them, and how they look once they are filled."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from libs.errors import Invalid

SUBJECT, PREHEADER, HTML, TEXT = PARTS = ("subject", "preheader", "html", "text")

_MOST_LINE = 900


class Dialect(IntEnum):
    """The language that a template is written in, numbered as in the contract."""

    LIQUID = 1


def dialect_of(number: int) -> Dialect:
    """By its number in the contract, where 0 stands for Liquid; Invalid for one that nobody knows."""
    try:
        return Dialect(number or Dialect.LIQUID)
    except ValueError:
        raise Invalid("template.dialect", "is not one that this version knows") from None


class Complaint(msgspec.Struct, frozen=True):
    """What is wrong with a template: the part, its line where that is known, and why."""

    part: str
    line: int
    """From 1; 0 where it is not known."""
    problem: str


class TemplateWarning(msgspec.Struct, frozen=True):
    """What is probably a mistake in a template that can be filled."""

    part: str
    line: int
    name: str
    """What nothing has, such as `user.segment`."""
    suggestions: Sequence[str]
    """The nearest names, the nearest first."""

    @property
    def fields(self) -> dict[str, Any]:
        """By the names that the contract gives them."""
        return {
            "part": self.part,
            "line": self.line,
            "name": self.name,
            "message": self.message,
            "suggestions": list(self.suggestions),
        }

    @property
    def message(self) -> str:
        """The mistake in a sentence."""
        hint = f"; did you mean {' or '.join(self.suggestions)}?" if self.suggestions else ""
        return f"nothing has the name {self.name}, it is always empty{hint}"


class Unrenderable(Invalid):
    """A template can't be parsed, or not be filled with a context."""

    def __init__(self, part: str, line: int, problem: str) -> None:
        place = f"line {line}: " if line else ""
        super().__init__(f"template.{part}" if part else "template", place + problem)
        self.metadata = {**self.metadata, "part": part, "line": str(line)}


def finished(parts: Mapping[str, str]) -> dict[str, str]:
    """Filled parts as a mail can hold them: subject and preheader are one line each."""
    return {
        SUBJECT: _one_line(parts[SUBJECT]),
        PREHEADER: _one_line(parts[PREHEADER]),
        HTML: parts[HTML].replace("\0", ""),
        TEXT: _without_gaps(parts[TEXT].replace("\0", "")),
    }


# What turns the direction of all that follows: it makes `gpj.exe` of an address or a name. Marks that are
# part of writing (joiners U+200C and U+200D, direction marks U+200E and U+200F) stay.
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = "\u2028\u2029"


def _one_line(text: str) -> str:
    """Without what could begin another header, or deceive about what stands there; nothing else changes."""
    kept = "".join(_in_a_line(character) for character in text)
    return _shortened(re.sub(r"[ ]{2,}", " ", kept).strip())


def _in_a_line(character: str) -> str:
    if character in _OVERRIDES:
        return ""
    category = unicodedata.category(character)
    # Lone surrogates can't be encoded.
    return " " if category in ("Cc", "Cs") or character in _LINE_ENDS else character


# What belongs to the character before it: marks; joiners and tags; colours of skin; Korean vowels and ends.
_MARKS = frozenset({"Mn", "Me", "Mc"})
_ADDED = re.compile("[\u200c\u200d\u1160-\u11ff\ud7b0-\ud7fb\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
# Two letters of this kind are one flag.
_FLAG_LETTERS = re.compile("[\U0001f1e6-\U0001f1ff]*$")


def _shortened(text: str) -> str:
    """At most 900 characters, not ending in the middle of one that is written with several."""
    if len(text) <= _MOST_LINE:
        return text
    end = _MOST_LINE
    while end and _is_within(text, end):
        end -= 1
    return text[: end or _MOST_LINE].rstrip()


def _is_within(text: str, at: int) -> bool:
    after = text[at]
    if unicodedata.category(after) in _MARKS or _ADDED.match(after) or text[at - 1] == "\u200d":
        return True
    if not "\U0001f1e6" <= after <= "\U0001f1ff":
        return False
    letters = _FLAG_LETTERS.search(text[:at])
    return letters is not None and len(letters[0]) % 2 == 1


def _without_gaps(text: str) -> str:
    """Where tags stood, empty lines stay: one is enough."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).strip("\n") + "\n"
