"""Templates over the world's values: numbers as texts, nothing, lists with holes. The mail goes out."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.render.engine.model import language
from services.render.engine.model.values import number_of

BIG = 12345678901234567890123


def filled(source: str, context: Any, part: str = "text") -> str:
    language.check(part, source)
    # As the worker gets it.
    return language.render(part, source, msgspec.json.decode(msgspec.json.encode(context)))


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("1,299.00", "€1,299.00"),
        ("2", "€2.00"),
        ("1.299,00", "€1,299.00"),
        ("1 299,5 €", "€1,299.50"),
        ("$1,299", "€1,299.00"),
        ("USD 12", "€12.00"),
        ("1,299.500", "€1,299.50"),
        ("1.299,500", "€1,299.50"),
        ("1,000.000", "€1,000.00"),
        ("1.299.500", "€1,299,500.00"),
        ("0,500", "€0.50"),
        ("1\u2019299.50", "€1,299.50"),
        ("12,34,567.00", "€1,234,567.00"),
        ("R$ 1.299,00", "€1,299.00"),
        ("US$ 12", "€12.00"),
        ("12 US$", "€12.00"),
        ("1,299,5", "1,299,5"),
        ("1,299 500", "1,299 500"),
        ("1e400", "1e400"),
        ("-3.5", "-€3.50"),
        (1299, "€1,299.00"),
        (1299.0, "€1,299.00"),
        (0.125, "€0.13"),
        (-0.001, "€0.00"),
        ("n/a", "n/a"),
        (None, ""),
        ("", ""),
    ],
)
def test_revenue_1299_00_with_a_comma_as_a_text_goes_out(value: Any, amount: str) -> None:
    assert amount == filled("{{ event.revenue | money: '€' }}", {"event": {"revenue": value}})


@pytest.mark.parametrize(
    ("quantity", "shown"), [("2", "2 times"), (2, "2 times"), ("1", ""), (None, ""), ("x", "")]
)
def test_quantity_2_as_a_text_goes_out(quantity: Any, shown: str) -> None:
    source = "{% if event.quantity > 1 %}{{ event.quantity }} times{% endif %}"

    assert shown == filled(source, {"event": {"quantity": quantity}})


@pytest.mark.parametrize(
    "operation", ["times: 2", "plus: 2", "minus: 2", "divided_by: 2", "modulo: 2", "round"]
)
@pytest.mark.parametrize("price", [None, "", "n/a", True, [], {}])
def test_what_is_worked_out_of_an_unknown_price_is_unknown_and_never_0(operation: str, price: Any) -> None:
    source = f"{{{{ event.price | {operation} | money: '€' }}}}"

    assert "" == filled(source, {"event": {"price": price}})
    assert "" == filled(source, {"event": {}})


@pytest.mark.parametrize("name", ["", "   ", None, False, [], {}])
def test_first_name_empty_gives_the_default(name: Any) -> None:
    source = "Hello, {{ profile.traits.first_name | default: 'there' }}!"

    assert "Hello, there!" == filled(source, {"profile": {"traits": {"first_name": name}}})


@pytest.mark.parametrize("value", [None, "", [], {}, True])
@pytest.mark.parametrize("part", ["text", "html"])
def test_null_into_date_shows_nothing_that_is_no_date(value: Any, part: str) -> None:
    shown = filled("{{ event.at | date: '%d.%m.%Y' }}", {"event": {"at": value}}, part)

    assert shown == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2026-01-31T12:00:00Z", "31.01.2026"),
        (1769860800, "31.01.2026"),
        ("1769860800", "31.01.2026"),
        (1769860800000, "31.01.2026"),
        ("soon", "soon"),
        (10**22, str(10**22)),
        ("01.02.2024", "01.02.2024"),
        ("1.2.2024", "01.02.2024"),
        ("2024-01-31", "31.01.2024"),
        ("2024-01-31 23:30:00.123456789 +0530", "31.01.2024"),
        ("2024/01/31", "31.01.2024"),
        ("20240131", "31.01.2024"),
        (20240131, "31.01.2024"),
        ("20240131T120000Z", "31.01.2024"),
        ("20240131120000", "31.01.2024"),
        ("Wed, 31 Jan 2024 12:00:00 +0100", "31.01.2024"),
        ("Wed Jan 31 2024 12:00:00 GMT+0100 (Central European Standard Time)", "31.01.2024"),
        ("January 31, 2024", "31.01.2024"),
        ("31 January 2024", "31.01.2024"),
        ("Jan 31st, 2024 at 6:30 pm", "31.01.2024"),
        (3600, "01.01.1970"),
    ],
)
def test_a_date_comes_in_any_form_or_stays_as_it_is(value: Any, shown: str) -> None:
    assert shown == filled("{{ event.at | date: '%d.%m.%Y' }}", {"event": {"at": value}})


@pytest.mark.parametrize(
    "value",
    [
        *(
            "12.50",
            "Sat",
            "March",
            "6pm",
            "12:00",
            "1,5",
            "10-12",
            "2-3",
            "1.2.3",
            "2024",
            "3600",
            "99999999",
        ),
        *("01/02/2024", "2024-02-30", "2024-13-01", "2024-01-31T25:00", "31 January", "31 Foo 2024"),
        *("1" * 5000, "31.01.24", "2024-01-31T12:00:00+99:00"),
    ],
)
def test_what_lacks_a_day_a_month_or_a_year_is_no_date_and_stays_as_it_is(value: str) -> None:
    assert value == filled("{{ event.at | date: '%d.%m.%Y' }}", {"event": {"at": value}})


@pytest.mark.parametrize("value", [3600, "1970-01-01T01:00:00", "1970-01-01T02:00+01:00"])
def test_a_time_without_a_zone_is_utc_wherever_the_service_runs(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        shown = filled("{{ event.at | date: '%s %%s' }}", {"event": {"at": value}})
    finally:
        monkeypatch.undo()
        time.tzset()

    assert "3600 %s" == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        ([], ""),
        ([None], ""),
        (["a", None, "b"], "a, , b"),
        ([True, 1.5], "true, 1.5"),
        ("a", "a"),
    ],
)
def test_null_into_join_shows_nothing(value: Any, shown: str) -> None:
    assert shown == filled("{{ event.names | join: ', ' }}", {"event": {"names": value}})


@pytest.mark.parametrize(
    ("items", "order"),
    [
        ([{"p": 2, "n": "b"}, {"n": "none"}, {"p": 1, "n": "a"}], "a,b,none"),
        ([{"p": "10", "n": "b"}, {"p": None, "n": "none"}, {"p": 9.5, "n": "a"}], "a,b,none"),
        ([{"n": "none"}, {"p": "x", "n": "text"}, {"p": 1, "n": "number"}], "number,text,none"),
        ([None, {"p": 1, "n": "a"}], "a,"),
    ],
)
def test_sort_by_a_key_that_one_item_lacks_puts_it_last(items: Any, order: str) -> None:
    source = "{{ event.items | sort: 'p' | map: 'n' | join: ',' }}"

    assert order == filled(source, {"event": {"items": items}})


@pytest.mark.parametrize(
    "source",
    [
        "{{ event.id }}",
        "{{ event.id | append: '' }}",
        "{{ event.id | plus: 0 }}",
        "{{ event.id | round }}",
        "{{ event.id | json }}",
        "{{ event.list | join: '' }}",
        "{{ event.list }}",
        "{% for id in event.list %}{{ id }}{% endfor %}",
    ],
)
@pytest.mark.parametrize("part", ["text", "html"])
def test_a_whole_number_of_23_digits_shows_its_digits_everywhere(source: str, part: str) -> None:
    assert str(BIG) == filled(source, {"event": {"id": BIG, "list": [BIG]}}, part)


def test_large_and_small_fractions_have_no_exponent() -> None:
    assert "12345000000000000000000 0.0000001" == filled(
        "{{ event.a }} {{ event.b }}", {"event": {"a": 1.2345e22, "b": 1e-7}}
    )


@pytest.mark.parametrize("part", ["text", "html"])
def test_lists_and_objects_show_nothing_of_python(part: str) -> None:
    context = {"event": {"list": [None, True, "a"], "object": {"a": [None, 1]}}}
    shown = filled("{{ event.list }} {{ event.object | safe }}", context, part)

    assert 'truea {"a":[null,1]}' == shown


def test_a_loop_s_limit_that_is_not_known_is_none_and_one_of_0_is_0() -> None:
    source = "{% for i in (1..3) limit: event.n %}{{ i }}{% endfor %}"

    assert ["123", "", "", "12", "12"] == [filled(source, {"event": {"n": n}}) for n in (None, 0, -1, 2, "2")]


@pytest.mark.parametrize("columns", [None, [], [1], {}, "x", True, "2", 2.9, -1, 0])
def test_no_number_of_columns_makes_a_table_fail(columns: Any) -> None:
    source = "{% tablerow i in (1..3) cols: event.n %}{{ i }}{% endtablerow %}"
    rows = filled(source, {"event": {"n": columns}}).count("</tr>")

    assert rows == (2 if columns in ("2", 2.9) else 1)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 0.1 | plus: 0.2 }}", "0.3"),
        ("{{ 2.5 | round }} {{ 1.005 | round: 2 }} {{ 1234 | round: -2 }}", "3 1.01 1200"),
        (
            "{{ 1250 | round: -2 }} {{ -1250 | round: -2 }} {{ 1249.9 | round: -2 }} {{ 7 | round: -2 }}",
            "1300 -1300 1200 0",
        ),
        ("{{ -0.04 | round: 1 }} {{ 0.0 | times: -1 }} {{ -0.4 | round }}", "0.0 0.0 0"),
        ("{{ 7 | divided_by: 2 }} {{ 7.0 | divided_by: 2 }} {{ -7 | modulo: 3 }}", "3 3.5 2"),
        ("[{{ 1 | divided_by: 0 }}{{ 1 | modulo: 0 }}{{ 1.5 | divided_by: 0 }}]", "[]"),
        ("{{ '1,5' | ceil }} {{ '-1.5' | floor }} {{ '2' | at_least: '10' }}", "2 -2 10"),
        ("{{ 'ab' | slice: -2, 1 }}{{ 'ab' | slice: event.none }}", "aab"),
    ],
)
def test_numbers_count_as_people_do(source: str, expected: str) -> None:
    assert expected == filled(source, {"event": {}})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["1,299.00", "12", "n/a", "2026-01-31", "99999999999999999999", "-"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abk"), inner, max_size=3),
    max_leaves=8,
)
FILTERS = sorted(set(language._PLAIN.filters) - {"safe"})
ARGUMENTS = {
    **dict.fromkeys(("append", "prepend", "remove", "remove_first", "remove_last", "split", "concat"), 1),
    **dict.fromkeys(
        ("replace_last", "slice", "replace", "replace_first", "where", "find", "has", "reject"), 2
    ),
    **dict.fromkeys(("plus", "minus", "times", "divided_by", "modulo", "at_least", "at_most", "date"), 1),
    **dict.fromkeys(
        ("map", "find_index", "default", "join", "sort", "sort_natural", "sum", "uniq", "money"), 1
    ),
    **dict.fromkeys(("truncate", "truncatewords", "round", "compact"), 1),
}


@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=25)
@given(left=values, one=values, other=values)
def test_no_value_makes_a_filter_fail_or_show_what_python_calls_it(
    name: str, left: Any, one: Any, other: Any
) -> None:
    arguments = ", ".join(["event.one", "event.other"][: ARGUMENTS.get(name, 0)])
    source = f"{{{{ event.left | {name}{': ' + arguments if arguments else ''} }}}}"
    context = {"event": {"left": left, "one": one, "other": other}}

    for part in ("text", "html"):
        shown = filled(source, context, part)
        told = msgspec.json.encode(context).decode()
        for word in ("None", "True", "False", "Undefined", "Decimal", "object at"):
            assert word in told or word not in shown or name.startswith(("base64", "capitalize"))


@given(left=values, right=values, operator=st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "contains"]))
def test_no_value_makes_a_comparison_fail(left: Any, right: Any, operator: str) -> None:
    source = f"{{% if event.left {operator} event.right %}}yes{{% else %}}no{{% endif %}}"

    assert filled(source, {"event": {"left": left, "right": right}}) in ("yes", "no")


@given(st.integers(-(10**30), 10**30))
def test_a_number_is_read_from_any_of_its_spellings(number: int) -> None:
    spellings = [f"{number}", f"{number:,}", f" {number:,}.00 ", f"€{number:,}".replace("€-", "-€")]

    assert {float(number)} == {float(number_of(text) or 0) for text in spellings}
    assert number == number_of(number) == number_of(f"{number}")


WITH_ARGUMENTS = {
    **dict.fromkeys(("where", "find", "find_index", "has", "reject", "map"), "'a'"),
    **dict.fromkeys(("plus", "minus", "times", "divided_by", "modulo", "at_least", "at_most"), "1"),
    **dict.fromkeys(("append", "prepend", "money", "default", "join"), "'+'"),
    **dict.fromkeys(("remove", "remove_last", "split"), "'&'"),
    **dict.fromkeys(("replace", "replace_last"), "'&', '+'"),
    "remove_first": '"\'"',
    "replace_first": "';', ','",
    "slice": "2, 8",
    "truncate": "14",
    "truncatewords": "2",
    "date": "'%Y'",
    "concat": "event.list",
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("value", [" O'Neill & Söhne;\n 1", "1'299.50", "2024-01-31", '<b>"A&B"</b>; x'])
def test_a_captured_value_goes_through_any_filter_like_the_value_itself(name: str, value: str) -> None:
    use = f"{name}: {WITH_ARGUMENTS[name]}" if name in WITH_ARGUMENTS else name
    context = {"event": {"x": value, "list": ["&"]}}
    itself = filled(f"{{{{ event.x | {use} }}}}", context, "html")
    captured = filled(
        f"{{% capture c %}}{{{{ event.x }}}}{{% endcapture %}}{{{{ c | {use} }}}}", context, "html"
    )

    assert itself == captured


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("{% capture c %}It's {{ event.x }}{% endcapture %}{{ c | truncate: 9 }}", "It&#39;s A..."),
        ("{% capture c %}<b>{{ event.x }}</b>{% endcapture %}{{ c | squish }}", "<b>A &amp; &lt;B&gt;</b>"),
        ("{% capture c %}<b>{{ event.x }}</b>{% endcapture %}{{ c | truncate }}", "<b>A &amp; &lt;B&gt;</b>"),
        ("{% capture c %}{{ event.x }}{% endcapture %}{{ c | truncate: 6 | safe }}", "A &amp;..."),
        ("{% capture c %}{{ event.x }}{% endcapture %}{{ c | upcase | squish | safe }}", "A &amp; &lt;B&gt;"),
        ("{% capture c %}{{ event.x }}{% endcapture %}{{ c | split: ' ' | join }}", "A &amp; &lt;B&gt;"),
        ("{% capture c %}{{ event.x }}{% endcapture %}{{ c | replace: 'A', '<i>' }}", "<i> &amp; &lt;B&gt;"),
        ("{{ event.x | truncate: 3, '&hellip;' }}{{ 5 | money: '&euro;' }}", "A …€5.00"),
        ("{{ event.x | truncate: 9, '...' | safe }}", "A & <B>"),
        ("{{ '<b>' | append: event.x }}{{ '<b>' | escape }}", "<b>A &amp; &lt;B&gt;&lt;b&gt;"),
    ],
)
def test_what_is_escaped_already_is_escaped_once_and_never_live(source: str, shown: str) -> None:
    assert shown == filled(source, {"event": {"x": "A & <B>"}}, "html")
