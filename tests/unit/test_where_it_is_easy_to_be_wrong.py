"""Each point of the design at which it is easy to be wrong has its test, named after it."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model import assert_tried

_TESTS = Path(__file__).parents[1]
_POINTS = (
    "one person on two partitions",
    "a merge moves history between keys",
    "the answer waits in the log",
    "old events are not news",
    "data from another year",
    "an acknowledgement that lies",
    "the cache that remembers a rollback",
    "the last writer",
    "a backfill meets the stream",
    "two owners for a moment, no owner for a moment",
    "shared counters",
    "what a public key can do to others",
    "the refusal that is lost",
    "one item's dirt",
    "the world's values",
    "green because nothing ran",
)
# Whoever generates what happens says what must have happened.
_GENERATORS = {"tests.model.histories", "tests.model.lives"}


def _name_of(point: str) -> str:
    return "test_" + re.sub("[,']", "", point).replace(" ", "_")


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(_TESTS.glob("**/test_*.py")):
        yield file, ast.parse(file.read_text())


def _functions(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def _called(module: ast.Module) -> set[str]:
    calls = [node.func for node in ast.walk(module) if isinstance(node, ast.Call)]
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}


def test_each_point_has_one_test_of_its_name() -> None:
    counts = Counter(name for _, module in _modules() for name in _functions(module))

    assert {_name_of(point): 1 for point in _POINTS} == {n: counts[n] for n in map(_name_of, _POINTS)}


def test_green_because_nothing_ran() -> None:
    """Every test of generated histories or lives says what must have been tried, and fails without."""
    generated = {}
    for file, module in _modules():
        imported = {node.module for node in ast.walk(module) if isinstance(node, ast.ImportFrom)}
        if _GENERATORS & imported and {"given", "step"} & _called(module):
            generated[file.name] = _called(module)

    assert len(generated) >= 3
    assert [] == [name for name, called in generated.items() if "assert_tried" not in called]
    with pytest.raises(AssertionError):
        assert_tried(Counter(merges=9), "merges", "late")
    with pytest.raises(AssertionError):
        assert_tried(Counter(merges=9), "merges", least=10)
    with pytest.raises(AssertionError):
        assert_tried(Counter(merges=9))
