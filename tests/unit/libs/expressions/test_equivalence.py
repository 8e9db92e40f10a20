"""Generated code, fused or not, means what the plain interpreter says, for random rules and people."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.expressions import RuleError, RuleSet, canonical, parse_rule
from libs.expressions.parser import parse
from tests.unit.libs.expressions.interpreter import Interpreter

COUNTS = ['events("A").count()', 'events("B").within("1d").count()']
NUMBERS = ['events("A").sum("x")', 'events("A").min("x")', 'events("B").within("7d").max("x")']
FEATURES = {parse_rule(f"{text} == 1").features[0]: text for text in COUNTS + NUMBERS}
SCALARS: list[Any] = [
    True,
    False,
    None,
    0,
    1,
    2,
    -3,
    1.0,
    0.0,
    -0.5,
    2.5,
    2**53 + 1,
    2.0**53,
    2**63 - 1,
    -(2**63),
]
SCALARS += ["", "1", "a", "Ab", "true", 1e300]
KEYS = ["a", "b", "c", "d", "e"]

_json = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)
_traits = st.dictionaries(st.sampled_from(KEYS), _json, max_size=5)
_consent = st.dictionaries(st.sampled_from(["p", "q"]), st.booleans())
_counts = st.sampled_from([0, 1, 2, 3, 7])
_sums = st.sampled_from([None, 0, 1, 1.0, 2.5, -3, 2**53 + 1, 2.0**53])
_strings = st.sampled_from(['""', '"1"', '"a"', "'Ab'", 'r"b"'])
_ints = st.sampled_from(
    ["0", "1", "2", "-3", "9007199254740993", "9223372036854775807", "-9223372036854775808"]
)
_doubles = st.sampled_from(["0.0", "1.0", "-0.0", "2.5", "9007199254740992.0", "1e300"])
_uints = st.sampled_from(["0u", "1u", "2u", "18446744073709551615u"])


class _Writer:
    """Writes random rules, most of which are well typed."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._variables: list[str] = []

    def _one(self, *options: Any) -> str:
        text: str = self._draw(self._draw(st.sampled_from(options)))
        return text

    def _pick(self, *options: str) -> str:
        return self._draw(st.sampled_from(options))

    def condition(self, depth: int) -> str:
        if depth == 0:
            return self._leaf()
        shape = self._draw(st.integers(0, 8))
        if shape == 0:
            return f"!({self.condition(depth - 1)})"
        if shape <= 3:
            operator = self._pick(" && ", " || ")
            count = self._draw(st.integers(2, 3))
            return operator.join(f"({self.condition(depth - 1)})" for _ in range(count))
        if shape == 4:
            return " ? ".join([f"({self.condition(depth - 1)})", self._branches(depth - 1, self.condition)])
        if shape == 5:
            return (
                f"({self.condition(depth - 1)}) {self._pick('==', '!=', '<')} ({self.condition(depth - 1)})"
            )
        if shape == 6:
            return self._quantifier(depth - 1)
        return self._comparison(depth - 1)

    def _branches(self, depth: int, write: Any) -> str:
        return f"({write(depth)}) : ({write(depth)})"

    def _leaf(self) -> str:
        shape = self._draw(st.integers(0, 5))
        if shape == 0:
            return self._pick("true", "false", "consent.p", "consent.q", 'consent["p"]', "has(consent.p)")
        if shape == 1:
            return f"has({self._dynamic(0)}.{self._pick(*KEYS)})"
        if shape == 2:
            return self._dynamic(0)
        return self._comparison(0)

    def _comparison(self, depth: int) -> str:
        shape = self._draw(st.integers(0, 9))
        if shape == 0:
            method = self._pick("startsWith", "endsWith", "contains")
            return f"({self._string(depth)}).{method}({self._string(depth)})"
        if shape == 1:
            pattern = self._pick("'^a'", "'[0-9]'", "'b$'", "''")
            return f"({self._string(depth)}).matches({pattern})"
        if shape == 2:
            return f"({self.value(depth)}) in ({self._list(depth)})"
        if shape == 3:
            return f"({self.value(depth)}) in {self._dynamic(depth)}"
        if shape == 4:
            return f"({self._string(depth)}) {self._relation()} ({self._string(depth)})"
        if shape <= 6:
            return f"({self._number(depth)}) {self._relation()} ({self._number(depth)})"
        if shape == 7:
            return f"({self._dynamic(depth)}) {self._pick('==', '!=')} ({self._constant(depth)})"
        return f"({self.value(depth)}) {self._relation()} ({self._dynamic(depth)})"

    def _relation(self) -> str:
        return self._pick("==", "!=", "<", "<=", ">", ">=")

    def _constant(self, depth: int) -> str:
        return self._draw(st.sampled_from([self._pick("null", "true", "false"), self._list(depth)]))

    def value(self, depth: int) -> str:
        return self._draw(st.sampled_from([self._dynamic, self._number, self._string, self._dynamic]))(depth)

    def _dynamic(self, depth: int) -> str:
        name = self._pick("traits.", *self._variables)
        base = f"traits.{self._pick(*KEYS)}" if name == "traits." else name
        shape = self._draw(st.integers(0, 6))
        if shape == 0:
            return f"{base}.{self._pick(*KEYS)}"
        if shape == 1:
            key = self._pick("0", "1", "-1", "'a'", "1u", "traits.a")
            return f"{base}[{key}]"
        if shape == 2 and depth:
            return f"({self.condition(depth - 1)} ? {self._branches(depth - 1, self._dynamic)})"
        if shape == 3 and depth:
            return f"({self._dynamic(depth - 1)} {self._pick('+', '-', '*', '/')} {self._dynamic(depth - 1)})"
        if shape == 4 and depth:
            mixed = self._pick(*NUMBERS, "1", "'a'", "true")
            return f"({self.condition(depth - 1)} ? {mixed} : {self._dynamic(0)})"
        return base

    def _number(self, depth: int) -> str:
        shape = self._draw(st.integers(0, 7))
        if shape == 0:
            return self._one(_uints)
        if shape == 1:
            return self._pick(*NUMBERS)
        if shape == 2 and depth:
            return f"({self._double(depth - 1)}) {self._pick('+', '-', '*', '/')} ({self._double(depth - 1)})"
        if shape == 3 and depth:
            return f"{self._one(_uints)} {self._pick('+', '-', '*', '/', '%')} {self._one(_uints)}"
        return self._int(depth) if shape < 6 else self._double(depth)

    def _int(self, depth: int) -> str:
        shape = self._draw(st.integers(0, 6))
        if shape == 0:
            return f"size({self._dynamic(depth)})"
        if shape == 1 and depth:
            return f"int({self._number(depth - 1)})"
        if shape == 2 and depth:
            operator = self._pick("+", "-", "*", "/", "%")
            other = self._draw(st.sampled_from([self._int, self._dynamic]))
            return f"({self._int(depth - 1)}) {operator} ({other(0)})"
        if shape == 3 and depth:
            return f"-({self._int(depth - 1)})"
        return self._one(_ints, st.sampled_from(COUNTS))

    def _double(self, depth: int) -> str:
        shape = self._draw(st.integers(0, 4))
        if shape == 0 and depth:
            return f"double({self._number(depth - 1)})"
        if shape == 1:
            return f"-({self._pick(*NUMBERS, '0.0', '2.5')})"
        return self._one(_doubles, st.sampled_from(NUMBERS))

    def _string(self, depth: int) -> str:
        shape = self._draw(st.integers(0, 4))
        if shape == 0 and depth:
            return f"({self._string(depth - 1)}).lowerAscii()"
        if shape == 1 and depth:
            return f"({self._string(depth - 1)}) + ({self._string(depth - 1)})"
        return self._dynamic(depth) if shape == 2 else self._one(_strings)

    def _list(self, depth: int) -> str:
        writers: list[Callable[[], str]] = [
            lambda: self._one(_ints, _doubles),
            lambda: self._one(_strings),
            lambda: self._one(_ints, _doubles, _strings, st.sampled_from(["true", "null"])),
            lambda: self._dynamic(depth),
            lambda: self._pick("true", *COUNTS),
        ]
        item = self._draw(st.sampled_from(writers))
        return "[" + ", ".join(item() for _ in range(self._draw(st.integers(0, 3)))) + "]"

    def _quantifier(self, depth: int) -> str:
        if len(self._variables) == 2:
            return self._leaf()
        items = self._draw(st.sampled_from([self._dynamic(depth), self._list(0), "traits"]))
        variable = "xy"[len(self._variables)]
        self._variables.append(variable)
        body = self.condition(depth)
        self._variables.pop()
        return f"{items}.{self._pick('exists', 'all')}({variable}, {body})"


@st.composite
def _rules(draw: st.DrawFn) -> str:
    return _Writer(draw).condition(draw(st.integers(0, 3)))


_seen: Counter[str] = Counter()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(_rules(), min_size=1, max_size=6), st.lists(_traits, min_size=1, max_size=3), _consent, st.data()
)
def _generated_code_means_what_the_interpreter_says(
    texts: list[str], people: list[dict[str, Any]], consent: dict[str, bool], data: st.DataObject
) -> None:
    rules = {}
    for text in texts:
        try:
            rules[text] = parse_rule(text)
        except RuleError:
            _seen["ill typed"] += 1
    fused = RuleSet(rules)
    for traits in people:
        aggregates = {text: data.draw(_counts if text in COUNTS else _sums) for text in FEATURES.values()}
        values = [aggregates[FEATURES[feature]] for feature in fused.features]
        interpreter = Interpreter(traits, consent, aggregates)
        expected = [text for text in rules if interpreter.holds(parse(text))]
        # The negations tell apart what is false from what is an error.
        negated = RuleSet({text: parse_rule(f"!({text})") for text in rules})
        values_negated = [aggregates[FEATURES[feature]] for feature in negated.features]
        denied = [text for text in rules if interpreter.holds(parse(f"!({text})"))]
        _seen.update(true=len(expected), false=len(denied), error=len(rules) - len(expected) - len(denied))

        assert expected == fused.evaluate(traits, consent, values)
        assert denied == negated.evaluate(traits, consent, values_negated)


def test_generated_code_means_what_the_interpreter_says() -> None:
    _seen.clear()
    _generated_code_means_what_the_interpreter_says()

    judged = _seen["true"] + _seen["false"] + _seen["error"]
    assert min(_seen["true"], _seen["false"], _seen["error"]) > judged / 20
    assert _seen["ill typed"] < judged


@given(_rules())
def test_the_canonical_text_is_read_as_the_same_tree(text: str) -> None:
    tree = parse(text)
    written = canonical.text_of(tree)

    assert tree == parse(written)
    assert written == canonical.text_of(parse(written))
