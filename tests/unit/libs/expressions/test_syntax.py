"""The rule language: what parses, and what is said about what does not."""

import ast
import pickle
import sys
from pathlib import Path

import pytest

from libs import expressions
from libs.expressions import Feature, RuleError, Series, parse_rule
from tests.unit.libs.expressions.samples import holds


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ('"plain"', "plain"),
        ("'single'", "single"),
        ('"it\'s"', "it's"),
        ("'''x''x'''", "x''x"),
        ('"""two\nlines"""', "two\nlines"),
        (r'"\a\b\f\n\r\t\v"', "\a\b\f\n\r\t\v"),
        (r'''"\\\?\"\'\`"''', "\\?\"'`"),
        (r'"\x41\X42\u0043\U00000044\105"', "ABCDE"),
        (r'"\377"', "ÿ"),
        (r'r"\n\\"', r"\n\\"),
        (r"R'''\d+'''", r"\d+"),
        ('"ünï😀"', "ünï😀"),
        ('"// no comment"', "// no comment"),
    ],
)
def test_a_string_can_be_quoted_in_every_way_of_cel(literal: str, value: str) -> None:
    held = holds(f"traits.x == {literal}", traits={"x": value})

    assert held


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("0", 0),
        ("0x1F", 31),
        ("-0xff", -255),
        ("12u", 12),
        ("0XfU", 15),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615u", 2**64 - 1),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000),
        ("-2.5E-1", -0.25),
        ("00012", 12),
    ],
)
def test_a_number_can_be_written_in_every_way_of_cel(literal: str, value: float) -> None:
    held = holds(f"traits.x == {literal}", traits={"x": value})

    assert held


@pytest.mark.parametrize(
    "text",
    [
        "true // the end",
        "// first\n\ttrue\r\n",
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "10 - 3 - 2 == 5",
        "2 < 3 == true",
        "true || false && false",
        "!false && !!true",
        "--1 == 1",
        "1 - -1 == 2",
        "false ? false : true ? true : false",
        "traits.`first name` == 'Ann'",
        ".traits.age == 30",
        "1 in [3, 2, 1]",
        "traits.numbers[0] == 1",
        "traits['address'].geo['lat'] == 51.5",
        "traits.package == null || true",
        "matches('abc', 'b')",
    ],
)
def test_the_grammar_is_cels(text: str) -> None:
    held = holds(text)

    assert held


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("", 1, 1, "empty"),
        ("  // nothing", 1, 13, "empty"),
        ("traits.age = 1", 1, 12, "write == to compare"),
        ("true & false", 1, 6, "write && for"),
        ("true and false", 1, 6, "write && for"),
        ("not true", 1, 5, "write ! for"),
        ("“a” == 'a'", 1, 1, "plain quotes"),
        ('traits.x == "a', 1, 13, "never closed"),
        ('traits.x == "a\nb"', 1, 13, "never closed"),
        (r'traits.x == "\q"', 1, 14, "escape"),
        (r'traits.x == "\ud800"', 1, 14, "no Unicode character"),
        (r'traits.x == "\U00110000"', 1, 14, "no Unicode character"),
        ("traits.x == '\ud800'", 1, 14, "surrogate"),
        ('traits.x == b"a"', 1, 13, "bytes"),
        ("9223372036854775808 == 1", 1, 1, "64 bits of an int"),
        ("-9223372036854775809 == 1", 1, 2, "64 bits of an int"),
        ("18446744073709551616u == 1", 1, 1, "64 bits of a uint"),
        ("1" * 5000 + " == 1", 1, 1, "64 bits"),
        ("1e999 > 1.0", 1, 1, "larger than any double"),
        ("12abc == 1", 1, 3, "cannot follow a number"),
        ("traits.x ==", 1, 12, "ends where a value"),
        ("(true", 1, 6, "`)`"),
        ("true)", 1, 5, "`)` stands where"),
        ("[1, 2", 1, 6, "`,` or `]`"),
        ("{'a': 1}", 1, 1, "maps"),
        ("true ? false", 1, 13, "`:`"),
        ("!-1 == 1", 1, 2, "do not mix"),
        ("traits.while == 1 && while", 1, 22, "reserved word"),
        ("traits.true", 1, 8, "name of a field"),
        ("true &&\n\n  nope", 3, 3, "`nope` is not known"),
        ("true &&\r\n  nope", 2, 3, "`nope` is not known"),
        ("trait.x == 1", 1, 1, "did you mean `traits`?"),
        ("True", 1, 1, "write true"),
        ("properties.x == 1", 1, 1, "`properties` is not known"),
        ("traits.age", 0, 0, ""),
        ("1 + 2", 1, 3, "must be true or false, and this is an int"),
        ("'a'", 1, 1, "must be true or false, and this is a string"),
        ("true && 1", 1, 9, "each side of &&"),
        ("!'a'", 1, 2, "must be true or false"),
        ("1 ? true : false", 1, 1, "before `?`"),
        ("(true ? 1 : 'a') == 1", 1, 7, "one type"),
        ("1 + 'a' == 2", 1, 3, "`+` does not take an int and a string"),
        ("1 + 1.0 == 2.0", 1, 3, "write double(…)"),
        ("1u + 1 == 2", 1, 4, "a uint and an int"),
        ("1.0 % 2.0 == 1.0", 1, 5, "`%`"),
        ("traits.x % 2.0 == 1.0", 1, 10, "`%`"),
        ("traits.x + 1u == 1", 1, 10, "a dyn and a uint"),
        ("traits.x + true == 1", 1, 10, "a dyn and a bool"),
        ("traits.x - 'a' == 1", 1, 10, "a dyn and a string"),
        ("[1u] + [1] == [1]", 1, 6, "`+`"),
        ("[1] - [1] == [1]", 1, 5, "`-`"),
        ("-1u == 1", 1, 1, "no negative"),
        ("'a' < 1", 1, 5, "have no order"),
        ("null < traits.x", 1, 6, "have no order"),
        ("'1' == 1", 1, 5, "a string never equals an int"),
        ("true == 1", 1, 6, "a bool never equals an int"),
        ("[1] == ['a']", 1, 5, "never equals"),
        ("consent.analytics == 'yes'", 1, 19, "never equals"),
        ("1 in ['a']", 1, 3, "is never in"),
        ("1 in 'a'", 1, 3, "looks into"),
        ("1 in traits", 1, 3, "is never in"),
        ("'a'.b", 1, 5, "has no field"),
        ("traits.x.size == 1 && 'a'.size == 1", 1, 27, "call a method with parentheses"),
        ("'a'[0] == 'a'", 1, 4, "cannot be indexed"),
        ("[1]['a'] == 1", 1, 5, "cannot be indexed by a string"),
        ("[1u, 2] == [1]", 1, 1, "uint"),
        ("sizes(traits) == 1", 1, 1, "there is no function `sizes`; did you mean `size`?"),
        ("traits.x.startswith('a')", 1, 10, "did you mean `startsWith`?"),
        ("startsWith(traits.x, 'a')", 1, 1, "is a method"),
        ("traits.x.int() == 1", 1, 10, "is a function"),
        ("traits.x.has()", 1, 10, "is a function"),
        ("traits.x.startsWith()", 1, 10, "takes 1 argument, and here are 0"),
        ("size(traits, traits) == 1", 1, 1, "takes 1 argument, and here are 2"),
        ("traits.x.startsWith(1)", 1, 21, "takes strings"),
        ("size(1) == 1", 1, 1, "does not take an int"),
        ("int(true) == 1", 1, 1, "does not take a bool"),
        ("has(traits)", 1, 1, "one field with a dot"),
        ("has(traits['x'])", 1, 1, "one field with a dot"),
        ("traits.x.matches(traits.y)", 1, 25, "written out"),
        ("traits.x.matches('(')", 1, 18, "pattern cannot be used"),
        ("traits.tags.exists(1, true)", 1, 13, "takes a name and a condition"),
        ("traits.tags.exists(x, 1)", 1, 23, "condition of `exists`"),
        ("traits.tags.exists(traits, true)", 1, 20, "already means something"),
        ("traits.a.all(x, x.all(y, y.all(z, true)))", 1, 28, "nest at most 2"),
        ("1.exists(x, true)", 1, 3, "looks into"),
        ("traits.tags.exists(x, true) && x == 1", 1, 32, "`x` is not known"),
    ],
)
def test_an_error_names_its_place_and_its_cause(text: str, line: int, column: int, part: str) -> None:
    if not line:
        assert parse_rule(text)
        return
    with pytest.raises(RuleError) as caught:
        parse_rule(text)

    assert (line, column) == (caught.value.line, caught.value.column)
    assert part in caught.value.problem
    assert f"line {line}, column {column}: {caught.value.problem}" == str(caught.value)


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ('events("A")', 1, "add .count()"),
        ('events("A") > 3', 1, "add .count()"),
        ('events("A").within("1d") > 3', 13, "add .count()"),
        ("events > 3", 1, 'write events("Name")'),
        ('events("A").count > 3', 1, "add .count()"),
        ('events("A").median("x") > 3', 13, "must end in count"),
        ('events("A").last().count() > 3', 13, "no method `last`"),
        ('events("*").count() > 3', 8, "write events() for any event"),
        ('pages("*").count() > 3', 7, "write pages() for any page"),
        ("events(1).count() > 3", 8, "takes the name of an event"),
        ("events(traits.x).count() > 3", 15, "written out as a string"),
        ('events("").count() > 3', 8, "1 to 200 characters"),
        ('events("A").count("x") > 3', 13, "no argument"),
        ('events("A").sum() > 3', 13, "path of a property"),
        ('events("A").sum("a..b") > 3', 17, "names with dots"),
        ('events("A").sum("properties.revenue") > 3', 17, 'begins inside the properties: write "revenue"'),
        ('events("A").sum(traits.x) > 3', 24, "written out as a string"),
        ('events("A").within("0d").count() > 3', 20, "length of time"),
        ('events("A").within("1y").count() > 3', 20, "length of time"),
        ('events("A").within("1.5d").count() > 3', 20, "length of time"),
        ('events("A").within("1828d").count() > 3', 20, "five years"),
        ('events("A").within(30).count() > 3', 20, "written out as a string"),
        ('events("A").within("1d").within("2d").count() > 3', 13, "stands twice"),
        ('events("A").where(traits.x == 1).count() > 3', 19, "only the event's own properties"),
        ('events("A").where(events("B").count() > 1).count() > 3', 31, "inside `where`"),
        ('events("A").where(properties.x + 1).count() > 3', 32, "predicate of `where`"),
        ('events("A").where(1 == 1, 2 == 2).count() > 3', 13, "a condition"),
        ('events("A").count() == "x"', 21, "an int never equals a string"),
        ('events("A").count().within("1d") > 3', 21, "belongs to events"),
        ("traits.x.count() > 3", 10, "belongs to events"),
        ('events("A").sum("x") / events("A").count() > 3', 22, "double(…) around the int"),
        ('events("A").sum("x") + traits.y > 3', 22, "double(…) around the dyn"),
        ('events("A").count()', 13, "must be true or false"),
    ],
)
def test_a_wrong_use_of_events_is_explained(text: str, column: int, part: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text)

    assert (1, column) == (caught.value.line, caught.value.column)
    assert part in caught.value.problem


def test_a_rule_tells_what_it_reads() -> None:
    rule = parse_rule(
        'events("Order").where(properties.total>1&&properties.kind=="a").within("30d").count() > 3'
        ' && events("Order").within("4w").sum("a.b") > 1.0 && events("Order").within("720h").count() > 0'
        ' && events("Order").within("30d").where( properties.total > 1 && properties[\'kind\'] == r"a")'
        ".count() < 9 && events('Order').within('30d').count() < 9"
        ' && traits.country == "x" && traits["first name"] == "y" && has(traits.z.w) && "q" in traits'
    )

    where = 'properties.total > 1 && properties.kind == "a"'
    other = 'properties.total > 1 && properties["kind"] == "a"'
    expected = (
        Feature(Series("Order", None, where), "count", 30 * 86_400),
        Feature(Series("Order", "a.b", None), "sum", 28 * 86_400),
        Feature(Series("Order", None, None), "count", 30 * 86_400),
        Feature(Series("Order", None, other), "count", 30 * 86_400),
    )
    assert expected == rule.features
    assert frozenset({"country", "first name", "z", "q"}) == rule.traits
    assert not rule.uses_consent


@pytest.mark.parametrize(
    ("where", "canonical"),
    [
        ("properties.a>-1", "properties.a > -1"),
        ("((properties.a)) == - 1", "properties.a == -1"),
        ("-(1) < properties.a", "-(1) < properties.a"),
        ("--1 < -properties.a", "--1 < -properties.a"),
        (
            "!(properties.a && (properties.b||properties.c))",
            "!(properties.a && (properties.b || properties.c))",
        ),
        ("!!properties.a", "!!properties.a"),
        ("1-(2-3)-4 == (1+2)*3", "1 - (2 - 3) - 4 == (1 + 2) * 3"),
        ("properties.a && (properties.b && properties.c)", "properties.a && properties.b && properties.c"),
        ("(true?false:true)?true:false", "(true ? false : true) ? true : false"),
        ("properties.`a b` == properties.`in`", "properties.`a b` == properties.`in`"),
        (r"properties.a == '\"\u00e9\x01\\'", r'properties.a == "\"é\u0001\\"'),
        ("properties.a in [0x10, 1e3 ,null]", "properties.a in [16, 1000.0, null]"),
        ("('a'+'b').size()==2", '("a" + "b").size() == 2'),
        ("properties.a.exists( x,x[0]==1 )", "properties.a.exists(x, x[0] == 1)"),
    ],
)
def test_a_predicate_is_kept_in_one_spelling(where: str, canonical: str) -> None:
    first = parse_rule(f"events('A').where({where}).count() > 0").features[0].series.where
    again = parse_rule(f"events('A').where({first}).count() > 0").features[0].series.where

    assert canonical == first
    assert canonical == again


@pytest.mark.parametrize("text", ["size(traits) > 1", "traits[traits.x] == 1", "traits.exists(k, k == 'a')"])
def test_a_rule_that_reads_all_traits_says_so(text: str) -> None:
    rule = parse_rule(text)

    assert frozenset({"*"}) == rule.traits


def test_a_rule_tells_that_it_reads_consent() -> None:
    rule = parse_rule("consent.analytics")

    assert rule.uses_consent
    assert frozenset() == rule.traits


@pytest.mark.parametrize(
    "text",
    [
        "(" * 3000 + "true" + ")" * 3000,
        "!" * 3000 + "true",
        "-" * 3000 + "1 == 1",
        "[" * 3000 + "]" * 3000 + " == []",
        "true ? true : " * 600 + "true",
        "1 + " * 2000 + "1 == 1",
        "1 + (" * 1500 + "1" + ")" * 1500 + " == 1",
        "traits" + ".a" * 3000,
        "traits" + "[0]" * 3000,
        "traits[" * 1000 + "0" + "]" * 1000,
        "size(" * 1500 + "traits" + ")" * 1500,
        "traits.x" + ".lowerAscii()" * 600,
        "events('A').where(" * 300,
        "true && " * 1200 + "true",
    ],
)
@pytest.mark.parametrize("depth", [0, 600])
def test_deep_nesting_never_overflows_the_stack(text: str, depth: int) -> None:
    def parse(remaining: int) -> str:
        if remaining:
            return parse(remaining - 1)
        try:
            return parse_rule(text).text
        except RuleError as error:
            return error.problem

    answer = parse(min(depth, sys.getrecursionlimit() - 400))

    assert answer == text or "deep" in answer


def test_as_much_nesting_as_cel_asks_for_is_fine() -> None:
    held = [
        holds("(" * 32 + "true" + ")" * 32),
        holds(" || ".join(["false"] * 1000) + " || true"),
        holds(" && ".join(["true"] * 1000)),
        holds(" + ".join(["1"] * 33) + " == 33"),
        holds("(true ? " * 32 + "true" + " : false)" * 32),
        holds("!(" * 32 + "true" + ")" * 32),
        holds("(true && (false || " * 16 + "true" + "))" * 16),
        holds("traits" + ".a" * 32 + " == 1", traits=_nested(32)),
    ]

    assert all(held)


def _nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {"a": 1}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_a_rule_is_no_longer_than_ten_thousand_characters() -> None:
    longest = "true" + " " * 9_996
    with pytest.raises(RuleError) as caught:
        parse_rule(longest + " ")

    assert longest == parse_rule(longest).text
    assert "10,000 characters" in caught.value.problem


def test_the_number_of_aggregates_is_bounded() -> None:
    def text(count: int) -> str:
        return " && ".join(f'events("E{number}").count() > 1' for number in range(count))

    with pytest.raises(RuleError) as caught:
        parse_rule(text(51))

    most = 50
    assert most == len(parse_rule(text(most)).features)
    assert "at most 50" in caught.value.problem


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RuleError(2, 3, "it is wrong")))

    expected = ("line 2, column 3: it is wrong", 2, 3)
    assert expected == (str(error), error.line, error.column)


def test_the_rule_language_needs_nothing_but_python() -> None:
    package = Path(expressions.__file__).parent
    imported = set()
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")

    foreign = {
        name
        for name in imported
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("libs.expressions")
    }
    assert set() == foreign
