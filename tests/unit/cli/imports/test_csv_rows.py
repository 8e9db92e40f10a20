"""CSV: no row is lost."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.imports.csv_rows import DELIMITERS, Row, delimiter_of, rows
from cli.imports.files import TextLine, text_lines

_VALUES = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=8)


def _lines(text: str) -> list[TextLine]:
    return list(text_lines(io.BytesIO(text.encode())))


def _rows(text: str, columns: int | None = 3, delimiter: str = ",", multiline: bool = False) -> list[Row]:
    return list(rows(_lines(text), delimiter, columns, multiline))


def _taken(found: list[Row]) -> dict[int, list[str]]:
    return {row.line: list(row.values) for row in found if not row.problem}


def _told(found: list[Row]) -> dict[int, str]:
    return {row.line: row.problem for row in found if row.problem}


@given(
    st.lists(st.lists(_VALUES, min_size=3, max_size=3), max_size=6),
    st.sampled_from(sorted(DELIMITERS.values())),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_was_written_as_csv_is_read_as_it_was(
    table: list[list[str]], delimiter: str, quoting: int
) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(table)
    # A line of nothing but spaces is no row.
    wanted = [row for row in table if quoting == csv.QUOTE_ALL or delimiter.join(row).strip()]

    assert wanted == [list(row.values) for row in _rows(written.getvalue(), 3, delimiter, multiline=True)]


@given(st.text(st.sampled_from('",;a \n'), max_size=40), st.booleans())
def test_each_line_is_in_one_row_or_told_whatever_the_quotes(text: str, multiline: bool) -> None:
    found = _rows(text, 2, multiline=multiline)
    with_text = [line.number for line in _lines(text) if line.text.strip()]
    begins = [row.line for row in found]
    swallowed = [number for number in with_text if number not in begins]

    assert sorted(set(begins)) == begins
    for number in swallowed:
        (before,) = [row for row in found if row.line == max(one for one in begins if one < number)]
        assert "\n" in "".join(before.values), "it is part of a value that has several lines"
    assert all((len(row.values) == 2) != bool(row.problem) for row in found)


def test_csv_a_quote_that_is_never_closed_is_told_with_its_line_and_swallows_nothing() -> None:
    found = _rows('1,Ada,Paris\n2,"Bob,London\n3,Cy,Rome\n4,Di,Oslo\n')

    assert {2: "the quote that begins value 2 is never closed"} == _told(found)
    assert {1: ["1", "Ada", "Paris"], 3: ["3", "Cy", "Rome"], 4: ["4", "Di", "Oslo"]} == _taken(found)


@pytest.mark.parametrize("later", ['3,"Cy",Rome', '3,"Cy" Jr.,Rome', '"3",Cy,Rome'])
def test_csv_a_quote_that_the_next_quoted_value_seems_to_close_is_told(later: str) -> None:
    found = _rows(f'1,Ada,Paris\n2,"Bob,London\n{later}\n4,Di,Oslo\n')

    assert "never closed" in _told(found)[2]
    assert [1, 4] == [number for number in _taken(found) if number != 3]
    assert 3 in _taken(found) or 3 in _told(found)


def test_csv_a_quote_that_closes_by_accident_with_too_many_values_swallows_nothing() -> None:
    found = _rows('2,"Bob,London\n3,Cy,Rome\n4,x",Oslo,5\n6,Di,Bonn\n')

    assert {1, 3} == _told(found).keys()
    assert "ends only in line 3" in _told(found)[1]
    assert {2: ["3", "Cy", "Rome"], 4: ["6", "Di", "Bonn"]} == _taken(found)


def test_csv_a_quote_that_closes_by_accident_over_lines_that_look_like_rows_tells_them_all() -> None:
    text = '2,"Bob,London\n3,Cy,Rome\n4,x",Oslo\n6,Di,Bonn\n'

    assert {1, 2, 3} == _told(_rows(text)).keys()
    assert {4: ["6", "Di", "Bonn"]} == _taken(_rows(text))
    assert ["2", "Bob,London\n3,Cy,Rome\n4,x", "Oslo"] == _taken(_rows(text, multiline=True))[1]


def test_a_quote_that_goes_on_for_longer_than_any_event_is_told() -> None:
    found = _rows('1,"a,b\n' + "2,c,d\n" * 20_000)

    assert [1] == list(_told(found))
    assert 20_000 == len(_taken(found))


def test_a_value_may_have_several_lines() -> None:
    found = _rows('1,"12 Main Street\n\nParis, ""the city""",x\n2,b,y\n')

    assert {1: ["1", '12 Main Street\n\nParis, "the city"', "x"], 4: ["2", "b", "y"]} == _taken(found)


@pytest.mark.parametrize("text", ['5" pipe', "O'Neil", 'the "best"', '12" x 8"'])
def test_a_quote_inside_a_value_that_began_without_one_is_a_character(text: str) -> None:
    assert {1: ["1", text, "x"]} == _taken(_rows(f"1,{text},x\n"))


def test_something_behind_a_closing_quote_is_told() -> None:
    found = _rows('1,"say "hi"",x\n1,"say \\"hi\\"",x\n2,b,y\n')

    assert {1, 2} == _told(found).keys()
    assert "written twice" in _told(found)[1]
    assert {3: ["2", "b", "y"]} == _taken(found)


def test_spaces_around_quotes_are_none_of_the_value() -> None:
    assert {1: ["1", "a, b", " c"]} == _taken(_rows('1, "a, b" , c\n'))


@pytest.mark.parametrize(("text", "count"), [("1,b", "2 values"), ("1", "1 value"), ("1,b,c,", "4 values")])
def test_csv_ragged_rows_are_told_by_their_line(text: str, count: str) -> None:
    found = _rows(f"1,a,x\n{text}\n2,b,y\n")

    assert {2: f"has {count}, where the first line names 3 columns"} == _told(found)
    assert [1, 3] == list(_taken(found))


def test_a_line_that_is_no_text_is_told_and_ends_no_quote() -> None:
    lines = text_lines(io.BytesIO(b'1,"a,x\n2,b\xfc"",y\n3,c,z\n'))
    found = list(rows(lines, ",", 3))

    assert [1, 2] == list(_told(found))
    assert {3: ["3", "c", "z"]} == _taken(found)


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("id,name", ","), ("id;name;city", ";"), ("id\tname", "\t"), ("id|name", "|"), ("id", ","),
     ('"Total, gross";id', ";"), ("a,b;c,d", ",")],
)  # fmt: skip
def test_the_first_line_tells_what_separates_values(header: str, delimiter: str) -> None:
    assert delimiter == delimiter_of(header)
