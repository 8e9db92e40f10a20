"""Regular expressions that search in time linear in the text: RE2's common syntax, run as a lazy automaton.

Python's own `re` backtracks, so a pattern in a rule could stop the service. Here a pattern becomes a
non-deterministic automaton, and the sets of states that it can be in are remembered as they are met.
Left out, and refused: back-references and look-around (which no automaton can do), named groups, flags,
word boundaries and Unicode classes. Groups, alternatives, classes, repeats and anchors are all there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

MAX_PATTERN = 200
MAX_SUBJECT = 1_000
MAX_STATES = 200
_MAX_REPEAT = 100
_MAX_DEPTH = 20
# How many steps between sets of states are remembered before starting over.
_MAX_KNOWN = 10_000


class PatternError(ValueError):
    """A pattern that is wrong, or beyond what is supported."""


@dataclass(frozen=True, slots=True)
class Characters:
    """A set of characters, as ranges of code points."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False

    def holds(self, code: int) -> bool:
        return any(low <= code <= high for low, high in self.ranges) != self.negated


# What a fragment of a pattern is: characters, an anchor, or an operator over other fragments.
Fragment: TypeAlias = "Characters | _Anchor | _Sequence | _Choice | _Repeat"


@dataclass(frozen=True, slots=True)
class _Anchor:
    at_start: bool


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: Fragment
    least: int
    most: int | None


_DIGITS = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE = ((9, 10), (12, 13), (32, 32))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "a": 7}
_ANY = Characters(((10, 10),), negated=True)


def compile_pattern(pattern: str) -> Callable[[str], bool | None]:
    """A search for the pattern anywhere in a text; it answers None to a text that is too long."""
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"it is longer than {MAX_PATTERN} characters")
    return _Automaton(_Parser(pattern).parse()).search


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def parse(self) -> Fragment:
        fragment = self._choice()
        if self._at < len(self._pattern):
            raise PatternError("there is a `)` without its `(`")
        return fragment

    @property
    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _takes(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _take(self) -> str:
        character = self._next
        if not character:
            raise PatternError("it ends too early")
        self._at += 1
        return character

    def _choice(self) -> Fragment:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise PatternError(f"its groups nest deeper than {_MAX_DEPTH} levels")
        options = [self._sequence()]
        while self._takes("|"):
            options.append(self._sequence())
        self._depth -= 1
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def _sequence(self) -> Fragment:
        parts: list[Fragment] = []
        while self._next not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return _Sequence(tuple(parts))

    def _repeated(self, part: Fragment) -> Fragment:
        bounds = self._bounds()
        if bounds is None:
            return part
        # Whether a repeat is greedy decides where a match ends, not whether there is one.
        self._takes("?")
        if self._bounds() is not None:
            raise PatternError("a repeat is repeated; put a group between")
        return _Repeat(part, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._takes(sign):
                return bounds
        return self._braces() if self._next == "{" else None

    def _braces(self) -> tuple[int, int | None]:
        end = self._pattern.find("}", self._at)
        least, comma, most = self._pattern[self._at + 1 : end].partition(",")
        if end < 0 or not _is_count(least) or not (most == "" or _is_count(most)):
            raise PatternError("write a repeat as {2}, {2,} or {2,5}, and a plain brace as \\{")
        self._at = end + 1
        low = int(least)
        high = int(most) if most else (None if comma else low)
        if max(low, high or 0) > _MAX_REPEAT or (high is not None and high < low):
            raise PatternError(f"a repeat goes up to {_MAX_REPEAT}, its smaller number first")
        return low, high

    def _atom(self) -> Fragment:
        character = self._take()
        if character == "(":
            return self._group()
        if character == "[":
            return self._set()
        if character == ".":
            return _ANY
        if character in "^$":
            return _Anchor(character == "^")
        if character == "\\":
            return self._escape()
        if character in "*+?{":
            raise PatternError(f"there is nothing to repeat before `{character}`; write \\{character}")
        return _one(ord(character))

    def _group(self) -> Fragment:
        if self._next == "?" and not self._takes("?:"):
            raise PatternError("look-around, flags and named groups are not supported; use (…) or (?:…)")
        fragment = self._choice()
        if not self._takes(")"):
            raise PatternError("there is a `(` without its `)`")
        return fragment

    def _escape(self) -> Fragment:
        character = self._take()
        if character in "Az":
            return _Anchor(character == "A")
        if character.lower() in _CLASSES:
            return Characters(_CLASSES[character.lower()], negated=character.isupper())
        return _one(self._code(character))

    def _code(self, escaped: str) -> int:
        """The code point that an escape stands for, its backslash and first character already read."""
        if escaped in _CONTROLS:
            return _CONTROLS[escaped]
        if escaped == "x":
            return self._hexadecimal()
        if escaped.isascii() and escaped.isalnum():
            what = "back-references are" if escaped.isdigit() else f"\\{escaped} is"
            raise PatternError(f"{what} not supported")
        return ord(escaped)

    def _hexadecimal(self) -> int:
        if self._takes("{"):
            digits, closed, _ = self._pattern[self._at :].partition("}")
            self._at += len(digits) + len(closed)
        else:
            digits, closed = self._pattern[self._at : self._at + 2], "}"
            self._at += 2
            if len(digits) < 2:
                closed = ""
        if not closed or not 0 < len(digits) <= 6 or set(digits.lower()) - set("0123456789abcdef"):
            raise PatternError("write a code point as \\x41 or \\x{1F600}")
        return int(digits, 16)

    def _set(self) -> Characters:
        negated = self._takes("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self._next != "]":
            if self._pattern.startswith("[:", self._at):
                raise PatternError("named classes such as [:alpha:] are not supported; write a-zA-Z")
            ranges.extend(self._set_item())
            first = False
        self._at += 1
        return Characters(tuple(ranges), negated)

    def _set_item(self) -> tuple[tuple[int, int], ...]:
        character = self._take()
        if character == "\\":
            escaped = self._take()
            if escaped in _CLASSES:
                return _CLASSES[escaped]
            if escaped.lower() in _CLASSES:
                return _complement(_CLASSES[escaped.lower()])
            low = self._code(escaped)
        else:
            low = ord(character)
        if self._next != "-" or self._pattern.startswith("-]", self._at):
            return ((low, low),)
        self._at += 1
        end = self._take()
        high = self._code(self._take()) if end == "\\" else ord(end)
        if high < low:
            raise PatternError("a range in […] goes backwards")
        return ((low, high),)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _one(code: int) -> Characters:
    return Characters(((code, code),))


def _complement(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    starts = [0, *(high + 1 for _, high in ranges)]
    ends = [*(low - 1 for low, _ in ranges), 0x10FFFF]
    return tuple(zip(starts, ends, strict=True))


class _Automaton:
    """States are numbers; each reads one character, passes freely (perhaps only at an end), or accepts."""

    def __init__(self, fragment: Fragment) -> None:
        self._reads: dict[int, tuple[Characters, int]] = {}
        self._free: dict[int, list[int]] = {}
        self._anchored: dict[int, tuple[_Anchor, int]] = {}
        self._count = 1
        # State 0 accepts; the automaton is built from its end.
        self._start = self._build(fragment, 0)
        # The sets of states that are known, by number: what each becomes by a character, and its answers.
        self._known: dict[frozenset[int], int] = {}
        self._sets: list[frozenset[int]] = []
        self._next: list[dict[str, int]] = []
        self._matched: list[bool] = []
        self._steps = 0

    def _state(self) -> int:
        if self._count >= MAX_STATES:
            raise PatternError("its repeats multiply to too much; make them shorter")
        self._count += 1
        return self._count - 1

    def _build(self, fragment: Fragment, then: int) -> int:
        """The state in which the fragment begins, when `then` follows it."""
        if isinstance(fragment, _Sequence):
            for part in reversed(fragment.parts):
                then = self._build(part, then)
            return then
        if isinstance(fragment, _Repeat):
            return self._build_repeat(fragment, then)
        state = self._state()
        if isinstance(fragment, Characters):
            self._reads[state] = (fragment, then)
        elif isinstance(fragment, _Anchor):
            self._anchored[state] = (fragment, then)
        else:
            self._free[state] = [self._build(option, then) for option in fragment.options]
        return state

    def _build_repeat(self, repeat: _Repeat, then: int) -> int:
        if repeat.most is None:
            loop = self._state()
            self._free[loop] = [self._build(repeat.part, loop), then]
            start = loop
        else:
            start = then
            for _ in range(repeat.most - repeat.least):
                optional = self._state()
                self._free[optional] = [self._build(repeat.part, start), then]
                start = optional
        for _ in range(repeat.least):
            start = self._build(repeat.part, start)
        return start

    def search(self, text: str) -> bool | None:
        if len(text) > MAX_SUBJECT:
            return None
        if self._steps > _MAX_KNOWN:
            self._forget()
        at = self._number(self._closure({self._start}, at_start=True, at_end=False))
        for character in text:
            if self._matched[at]:
                return True
            following = self._next[at].get(character)
            at = self._step(at, character) if following is None else following
        return self._matched[at] or self._accepts_at_end(at, at_start=not text)

    def _forget(self) -> None:
        self._known.clear()
        self._sets.clear()
        self._next.clear()
        self._matched.clear()
        self._steps = 0

    def _number(self, states: frozenset[int]) -> int:
        if states not in self._known:
            self._known[states] = len(self._sets)
            self._sets.append(states)
            self._next.append({})
            self._matched.append(0 in states)
        return self._known[states]

    def _step(self, at: int, character: str) -> int:
        code = ord(character)
        # A match may begin at any character, so the start stays among the states.
        reached = {self._start}
        for state in self._sets[at]:
            if state in self._reads:
                characters, then = self._reads[state]
                if characters.holds(code):
                    reached.add(then)
        number = self._number(self._closure(reached, at_start=False, at_end=False))
        self._next[at][character] = number
        self._steps += 1
        return number

    def _accepts_at_end(self, at: int, at_start: bool) -> bool:
        return 0 in self._closure(set(self._sets[at]), at_start, at_end=True)

    def _closure(self, states: set[int], at_start: bool, at_end: bool) -> frozenset[int]:
        pending = list(states)
        while pending:
            state = pending.pop()
            following = self._free.get(state, [])
            if state in self._anchored:
                anchor, then = self._anchored[state]
                following = [then] if (at_start if anchor.at_start else at_end) else []
            for then in following:
                if then not in states:
                    states.add(then)
                    pending.append(then)
        return frozenset(states)
