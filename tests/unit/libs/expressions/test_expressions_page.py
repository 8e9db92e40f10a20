"""What docs/expressions.md says of the language is so."""

import re
from pathlib import Path

import pytest

from libs.expressions import RuleError, checker, parse_rule

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "expressions.md").read_text()
EXAMPLES = [
    rule
    for block in re.findall(r"^```cel\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for rule in block.strip().split("\n\n")
]
MISTAKES = re.findall(r"^\| `([^|]+)` \| (line [^|]+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("rule", EXAMPLES)
def test_an_example_on_the_page_is_understood(rule: str) -> None:
    parse_rule(rule)


@pytest.mark.parametrize(("rule", "answer"), MISTAKES)
def test_a_mistake_on_the_page_is_answered_as_shown(rule: str, answer: str) -> None:
    with pytest.raises(RuleError) as refused:
        parse_rule(rule)

    assert answer == str(refused.value)


def test_the_page_has_examples_mistakes_and_every_function() -> None:
    missing = [name for name in {*checker._FUNCTIONS, *checker._METHODS} if f"{name}(" not in PAGE]

    assert (9, 7, []) == (len(EXAMPLES), len(MISTAKES), missing)
