"""The rule language: what expressions mean, errors included."""

from types import MappingProxyType
from typing import Any

import pytest

from libs.expressions import RuleSet, compile_predicate, number_at, parse_rule
from tests.unit.libs.expressions.samples import CONSENT, TRAITS, holds, outcome

_DEEP: Any = 1
for _ in range(5_000):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Errors, and how && and || absorb them.
        ("traits.missing == 1", None),
        ("traits.missing != 1", None),
        ("!(traits.missing == 1)", None),
        ("traits.missing == null", None),
        ("false && traits.missing", False),
        ("traits.missing && false", False),
        ("true || traits.missing", True),
        ("traits.missing || true", True),
        ("true && traits.missing", None),
        ("traits.missing || false", None),
        ("traits.age && true", None),
        ("traits.age || true", True),
        ("traits.age", None),
        ("traits.vip", True),
        ("!traits.zero", None),
        ("traits.vip ? true : traits.missing", True),
        ("traits.missing ? true : true", None),
        ("(traits.vip ? traits.age : traits.missing) == 30", True),
        ("(traits.vip == true) == (traits.age > 20)", True),
        ("(traits.missing == 1) == (traits.missing == 1)", None),
        # Equality is of any two values.
        ("traits.text == 1", False),
        ("traits.text != 1", True),
        ("traits.one == 1.0", True),
        ("traits.one == 1u", True),
        ("traits.vip == 1", False),
        ("traits.one == true", False),
        ("traits.zero == false", False),
        ("traits.zero == traits.nothing", False),
        ("traits.vip == traits.one", False),
        ("traits.nothing == null", True),
        ("traits.one == null", False),
        ("traits.zero != null", True),
        ("traits.big == 9007199254740993", True),
        ("traits.big == 9007199254740992.0", False),
        ("traits.big > 9007199254740992.0", True),
        ("traits.address == traits.same", True),
        ("traits.address == traits.tags", False),
        ("traits.numbers == [1, 2.0, 3]", True),
        ("traits.numbers == [1, 2]", False),
        ("[traits.one] == [true]", False),
        ("[traits.one, traits.missing] == [1]", None),
        ("null == null", True),
        ("1 == 1.0", True),
        ("double('NaN') == double('NaN')", False),
        # Ordering is of numbers, of strings, and of bools.
        ("traits.age > 29", True),
        ("traits.age > 29.5", True),
        ("traits.age >= 31u", False),
        ("traits.text < 2", None),
        ("traits.vip > 0", None),
        ("traits.nothing < 1", None),
        ("'a' < 'b'", True),
        ("'a' < 'B'", False),
        ("traits.country >= 'United'", True),
        ("traits.country < 1", None),
        ("false < true", True),
        ("traits.vip >= true", True),
        ("traits.vip > traits.one", None),
        ("traits.age < traits.score", False),
        ("traits.age <= traits.age", True),
        ("traits.tags < traits.tags", None),
        ("double('nan') < 1.0", False),
        ("double('nan') >= 1.0", False),
        # Arithmetic is of one type, within its range; of JSON's numbers, whole or not, it is of doubles.
        ("traits.age * 1.5 > 40.0", True),
        ("traits.one / 2.0 == 0.5", True),
        ("traits.age + 1 == 31", True),
        ("traits.age + 1.0 == 31.0", True),
        ("double(traits.age) + 1.0 == 31", True),
        ("traits.age / 7 == 4", True),
        ("-7 / 2 == -3", True),
        ("-7 % 2 == -1", True),
        ("7 % -2 == 1", True),
        ("1 / traits.zero == 1", None),
        ("1 % traits.zero == 1", None),
        ("1.0 / 0.0 > 1e308", True),
        ("-1.0 / 0.0 < -1e308", True),
        ("1.0 / -0.0 < 0.0 && 1.0 / 0.0 > 0.0", True),
        ("0.0 / 0.0 == 0.0 / 0.0", False),
        ("traits.huge + 1 > 0", None),
        ("traits.huge - 1 + 1 == traits.huge", True),
        ("-(-9223372036854775808) > 0", None),
        ("-9223372036854775808 / -1 > 0", None),
        ("traits.huge * 2 > 0", None),
        ("18446744073709551615u + 1u > 0u", None),
        ("1u - 2u > 0u", None),
        ("3u - 2u == 1", True),
        ("-traits.age == -30", True),
        ("-traits.text == -1", None),
        ("-traits.vip == -1", None),
        ("traits.country + '!' == 'United Kingdom!'", True),
        ("traits.country + 1 == 5", None),
        ("traits.numbers + [4] == [1, 2, 3, 4]", True),
        ("traits.vip + traits.one == 2", None),
        ("[1] + ['a'] == [1, 'a'] && [1u] + [2u] == [1u, 2u]", True),
        ("traits.tags + traits.numbers + ['x'] == traits.tags", False),
        # Members.
        ("traits.address.city == 'London'", True),
        ("traits['address']['geo'].lat > 51.0", True),
        ("traits.country.city == 'London'", None),
        ("traits.tags[0] == 'new'", True),
        ("traits.tags[3] == 'new'", None),
        ("traits.tags[-1] == 3", None),
        ("traits.tags[1.0] == 'loyal'", True),
        ("traits.tags[traits.one] == 'loyal'", True),
        ("traits.tags[traits.vip] == 'loyal'", None),
        ("traits.tags['0'] == 'new'", None),
        ("traits.country[0] == 'U'", None),
        ("traits[traits.country] == 1", None),
        ("has(traits.age)", True),
        ("has(traits.nothing)", True),
        ("has(traits.missing)", False),
        ("has(traits.address.city)", True),
        ("has(traits.address.street)", False),
        ("has(traits.country.x)", None),
        ("has(traits.missing.x)", None),
        ("has(traits.missing) && traits.missing > 3", False),
        ("has(consent.profiling)", False),
        ("consent.analytics", True),
        ("consent.email_marketing", False),
        ("consent.profiling", None),
        ("consent['analytics'] == true", True),
        ("consent.email_marketing == false", True),
        ("consent.profiling != true", None),
        # Membership.
        ("traits.country in ['France', 'United Kingdom']", True),
        ("traits.country in ['France']", False),
        ("traits.age in ['30']", False),
        ("traits.vip in [1, 2]", False),
        ("traits.vip in [1, true]", True),
        ("traits.one in [1.0, 2]", True),
        ("traits.tags in ['new']", False),
        ("traits.missing in ['a']", None),
        ("traits.age in []", False),
        ("'new' in traits.tags", True),
        ("3.0 in traits.tags", True),
        ("true in traits.numbers", False),
        ("'city' in traits.address", True),
        ("1 in traits.address", False),
        ("'x' in traits.country", None),
        ("'age' in traits", True),
        ("'missing' in traits", False),
        ("'analytics' in consent", True),
        ("traits.age in [traits.age, traits.missing]", None),
        # Functions.
        ("size(traits.country) == 14", True),
        ("traits.tags.size() == 3", True),
        ("size(traits.address) == 2", True),
        ("size('😀') == 1", True),
        ("size(traits.age) == 2", None),
        ("size([1, 2]) == 2", True),
        ("traits.country.startsWith('United')", True),
        ("traits.country.endsWith('States')", False),
        ("traits.country.contains(traits.text)", False),
        ("traits.age.contains('3')", None),
        ("traits.country.contains(traits.age)", None),
        ("traits.country.lowerAscii() == 'united kingdom'", True),
        ("'Äa'.upperAscii() == 'ÄA'", True),
        ("traits.age.upperAscii() == 'X'", None),
        ("traits.country.matches('^U.*m$')", True),
        ("traits.country.matches('^K')", False),
        ("traits.age.matches('3')", None),
        ("int(traits.text) == 1", True),
        ("int('-0042') == -42", True),
        ("int('1_0') == 10", None),
        ("int(' 1') == 1", None),
        ("int('٣') == 3", None),
        ("int('9223372036854775808') > 0", None),
        ("int(3.9) == 3 && int(-3.9) == -3", True),
        ("int(1e19) > 0", None),
        ("int(double('NaN')) == 0", None),
        ("int(traits.vip) == 1", None),
        ("double(traits.text) == 1.0", True),
        ("double('1e400') > 0.0", None),
        ("double('inf') > 1e308", True),
        ("double('1_0') == 10.0", None),
        ("double('x') == 1.0", None),
        ("string(traits.age) == '30'", True),
        ("string(1.5) + string(2.0) == '1.52'", True),
        ("string(true) == 'true'", True),
        ("string(traits.tags) == ''", None),
        # Quantifiers.
        ("traits.numbers.exists(x, x > 2)", True),
        ("traits.numbers.exists(x, x > 3)", False),
        ("traits.numbers.all(x, x > 0)", True),
        ("traits.numbers.all(x, x > 1)", False),
        ("traits.tags.exists(x, x > 2)", True),
        ("traits.tags.exists(x, x > 3)", None),
        ("traits.tags.all(x, x > 2)", None),
        ("traits.tags.all(x, x == 'new' || x > 5)", False),
        ("traits.empty.all(x, false)", True),
        ("traits.empty.exists(x, true)", False),
        ("traits.country.exists(x, true)", None),
        ("traits.missing.all(x, true)", None),
        ("traits.address.exists(k, k == 'city')", True),
        ("traits.numbers.exists(x, traits.numbers.all(y, y >= x))", True),
        ("traits.numbers.all(x, traits.numbers.exists(y, y > x))", False),
        ("traits.numbers.exists(x, x + traits.one == 4 && traits.age > 20)", True),
        ("[1, 2].all(x, x in traits.numbers) && [5].exists(x, x == 5)", True),
        ("traits.numbers.exists(x, (x > 2 ? 'big' : 'small') == 'big')", True),
        ("consent.exists(purpose, consent[purpose])", True),
    ],
)
def test_an_expression_is_true_or_false_or_an_error(text: str, expected: bool | None) -> None:
    result = outcome(text)

    assert expected is result


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ('events("A").count() > 3', [4], True),
        ('events("A").count() > 3', [3], False),
        ('events("A").count() == 3.0', [3], True),
        ('events("A").count() % 2 == 1', [3], True),
        ('events("A").sum("x") > 10', [10.5], True),
        ('events("A").sum("x") > 10', [0], False),
        ('events("A").min("x") > 10', [None], None),
        ('events("A").max("x") == 9007199254740993', [2**53 + 1], True),
        ('events("A").avg("x") / 2.0 == 1.5', [3], True),
        ('events("A").sum("x") / double(events("A").count()) == 2.5', [5, 2], True),
        ('events("A").sum("x") > events("B").sum("x")', [5, 2], True),
        ('events("A").sum("x") > events("B").sum("x")', [5, None], None),
        ('-events("A").sum("x") < 0', [5], True),
        ('events("A").max("x") > traits.age', [31], True),
        ('events("A").max("x") == traits.age', [30.0], True),
        ('events("A").max("x") in [1, 2]', [2], True),
        ('events("A").max("x") in [1, 2]', [None], None),
        ('[1, 2].exists(n, events("A").count() == n)', [2], True),
        ('(traits.vip ? events("A").max("x") : traits.age) == 2', [2], True),
        ('string(events("A").count()) == "3"', [3], True),
    ],
)
def test_an_aggregate_is_a_number_or_an_error(
    text: str, values: list[int | float | None], expected: bool | None
) -> None:
    result = outcome(text, values=values)

    assert expected is result


def test_rules_that_share_features_share_their_positions() -> None:
    rules = RuleSet(
        {
            "first": parse_rule('events("A").count() > 1 && events("B").within("1d").count() > 1'),
            ("second", 2): parse_rule('events("B").within("24h").count() > 1 && events("C").max("x") > 1'),
            3: parse_rule("traits.age == 30 && consent.analytics"),
        }
    )
    held = rules.evaluate(TRAITS, CONSENT, [1, 5, 2.5])

    events = ["A", "B", "C"]
    keys = [("second", 2), 3]
    assert events == [feature.series.event for feature in rules.features]
    assert keys == held


def test_a_set_without_rules_holds_nothing() -> None:
    rules: RuleSet[str] = RuleSet({})

    assert not rules.features
    assert not rules.evaluate({}, {}, [])


@pytest.mark.parametrize(
    ("where", "properties", "expected"),
    [
        (
            'properties.revenue > 100 && properties.category == "shoes"',
            {"revenue": 101, "category": "shoes"},
            True,
        ),
        ('properties.revenue > 100 && properties.category == "shoes"', {"revenue": 101}, False),
        ("properties.items.exists(i, i.price > 5.0)", {"items": [{"price": 1.0}, {"price": 6}]}, True),
        ("properties.on_sale", {"on_sale": True}, True),
        ("properties.on_sale", {"on_sale": 1}, False),
        ("properties.on_sale", {"on_sale": "true"}, False),
        ("!properties.on_sale", {}, False),
    ],
)
def test_a_predicate_holds_if_it_is_exactly_true(
    where: str, properties: dict[str, Any], expected: bool
) -> None:
    predicate = compile_predicate(where)

    assert expected is predicate(properties)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("revenue", 10),
        ("order.total", 2.5),
        ("order", None),
        ("missing", None),
        ("revenue.total", None),
        ("flag", None),
        ("text", None),
        ("endless", None),
        ("undefined", None),
        ("nothing.x", None),
    ],
)
def test_a_series_keeps_finite_numbers_only(path: str, expected: float | None) -> None:
    properties = {
        "revenue": 10,
        "order": {"total": 2.5},
        "flag": True,
        "text": "1",
        "endless": float("inf"),
        "undefined": float("nan"),
        "nothing": None,
    }
    number = number_at(properties, path)

    assert expected == number


@pytest.mark.parametrize(
    ("text", "traits"),
    [
        ("traits.a == traits.b", {"a": _DEEP, "b": _DEEP}),
        ("traits.b == traits.a[0] || true", {"a": [_DEEP], "b": _DEEP}),
        ("traits.a in [traits.b]", {"a": _DEEP, "b": _DEEP}),
    ],
)
def test_values_nested_deeper_than_the_stack_compare(text: str, traits: dict[str, Any]) -> None:
    held = holds(text, traits=traits)

    assert held


def test_numbers_beyond_64_bits_raise_nothing() -> None:
    traits = {"x": 10**5000}
    results = [
        outcome(text, traits=traits)
        for text in ("traits.x > 1.5", "double(traits.x) > 1.0", "string(traits.x) == ''", "traits.x + 1 > 0")
    ]

    expected = [True, None, None, None]
    assert expected == results


def test_a_mapping_that_is_no_dict_is_read_like_one() -> None:
    held = holds("traits.age == 30 && size(traits) > 3 && 'age' in traits", traits=MappingProxyType(TRAITS))

    assert held


NASTY = [
    '"',
    "'",
    "\n",
    "\\",
    '"""',
    "'); raise SystemExit('",
    "\n    raise SystemExit\n",
    "__import__('os').abort()",
    "__class__",
    "__builtins__",
    "k0",
    "v0",
    "ERROR",
    "{0}",
    "%s",
    "\u2028",
    "\0",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_no_text_of_a_rule_becomes_code(nasty: str) -> None:
    quoted = '"' + "".join(f"\\U{ord(character):08x}" for character in nasty) + '"'
    event = f"A{nasty}".replace("\0", "")
    quoted_event = '"' + "".join(f"\\U{ord(character):08x}" for character in event) + '"'
    rules = RuleSet(
        {
            nasty: parse_rule(f"traits[{quoted}] == {quoted}"),
            "nested": parse_rule(f"traits.a[{quoted}][{quoted}].contains({quoted})"),
            "listed": parse_rule(f"{quoted} in [{quoted}] && traits[{quoted}] in [{quoted}, 'x']"),
            "where": parse_rule(
                f"events({quoted_event}).where(properties[{quoted}] == {quoted}).count() > 0"
            ),
        }
    )
    traits = {nasty: nasty, "a": {nasty: {nasty: nasty}}}
    held = rules.evaluate(traits, {}, [1])
    series = rules.features[0].series

    expected = [nasty, "nested", "listed", "where"]
    assert expected == held
    assert event == series.event
    assert series.where is not None
    assert compile_predicate(series.where)({nasty: nasty})
    assert not compile_predicate(series.where)({nasty: "other"})


@pytest.mark.parametrize("name", ["__class__", "__dict__", "get", "keys", "append", "values", "type"])
def test_an_attribute_of_python_is_no_field(name: str) -> None:
    results = [
        outcome(f"has(traits.{name})"),
        outcome(f"traits.{name} == 1"),
        outcome(f"traits.country.{name} == 1"),
        outcome(f"traits.tags.exists({name}, {name} == 'new')"),
    ]

    expected = [False, None, None, True]
    assert expected == results


def test_a_thousand_rules_compile_and_answer_in_order() -> None:
    texts = {
        number: f'traits.age > {number % 60} && (events("E{number % 40}").count() > {number % 7}'
        f' || traits.country == "C{number % 9}" || traits.tags.exists(t, t == "t{number % 5}"))'
        for number in range(1000)
    }
    rules = RuleSet({number: parse_rule(text) for number, text in texts.items()})
    traits = {"age": 30, "country": "C3", "tags": ["t1", "t2"]}
    values = [index % 11 for index in range(len(rules.features))]
    held = rules.evaluate(traits, {}, values)
    expected = [
        number
        for number, text in texts.items()
        if 30 > number % 60 and ((number % 40) % 11 > number % 7 or number % 9 == 3 or number % 5 in (1, 2))
    ]

    assert len(values) == len({feature.series.event for feature in rules.features})
    assert expected == held


def test_one_rule_of_the_greatest_length_compiles() -> None:
    text = " || ".join(f"traits.a{number} == 'x{number}'" for number in range(400))
    held = holds(text, traits={"a399": "x399"})

    assert held
