"""Patterns of `matches`: the same answers as Python's, in bounded time."""

import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.expressions.regexp import MAX_SUBJECT, PatternError, compile_pattern

_ATOMS = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", r"\d", r"\w", r"[\d-]", "^", "$", r"\.", "[a-c]"]
)
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: "(" + "|".join(parts) + ")"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@given(_PATTERNS, st.text("abc1-.\n", max_size=8))
def test_a_pattern_finds_what_python_finds(pattern: str, subject: str) -> None:
    # Python's `$` also stands before a last newline, and RE2's does not.
    expected = re.search(pattern.replace("$", r"\Z"), subject, re.ASCII) is not None
    found = compile_pattern(pattern)

    assert expected is found(subject)
    assert expected is found(subject)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("", "", True),
        ("", "x", True),
        ("^$", "", True),
        ("^$", "x", False),
        (r"\Aab\z", "ab", True),
        (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "ann@example.com", True),
        (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "ann@example", False),
        (r"\x41\x{1F600}", "A😀", True),
        (r"[]a]", "]", True),
        (r"[a-]", "-", True),
        (r"[^\D]", "5", True),
        (r"[\W]", "é", True),
        (r"a{3}", "aa", False),
        (r"a{2,3}b", "aaab", True),
        (r"\n\t\\", "\n\t\\", True),
        ("colou?r", "color", True),
        ("}", "}", True),
    ],
)
def test_a_pattern_is_read_as_re2_reads_it(pattern: str, subject: str, expected: bool) -> None:
    found = compile_pattern(pattern)(subject)

    assert expected is found


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "[a",
        "*a",
        "a**",
        "a{2",
        "a{5,2}",
        "a{1000}",
        "a{x}",
        r"(a)\1",
        "(?=a)",
        "(?i)a",
        "(?P<n>a)",
        r"\bword",
        r"\pL",
        "[[:alpha:]]",
        "[b-a]",
        "\\",
        r"\x4",
        r"\x{}",
        "a" * 201,
        "(" * 30 + ")" * 30,
        "((a{50}){50}){50}",
    ],
)
def test_a_pattern_beyond_the_syntax_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*$", ".*.*.*.*x", "(a?){30}a{30}$", "(x+x+)+y"])
def test_a_pattern_that_backtracks_for_ever_elsewhere_answers_at_once(pattern: str) -> None:
    search = compile_pattern(pattern)
    start = time.perf_counter()
    search("a" * (MAX_SUBJECT - 1) + "!")

    assert time.perf_counter() - start < 2


def test_a_pattern_forgets_what_it_has_met_when_that_grows_too_large() -> None:
    search = compile_pattern("[^a]a")
    letters = [chr(code) for code in range(0x4E00, 0x4E00 + 20_000)]
    answers = {search("".join(letters[start : start + 500])) for start in range(0, len(letters), 500)}

    assert {False} == answers
    assert search("xa") is True


def test_a_text_that_is_too_long_has_no_answer() -> None:
    search = compile_pattern("a")

    assert search(string.ascii_letters * 30) is None
