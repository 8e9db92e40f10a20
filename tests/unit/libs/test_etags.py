import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.etags import EtagMismatch, check_etag, etag_of


@given(st.lists(st.integers(0, 9) | st.text(max_size=2), max_size=3), st.lists(st.integers(0, 9), max_size=3))
def test_an_etag_is_the_same_for_the_same_alone(one: list[object], other: list[object]) -> None:
    assert (one == other) == (etag_of(*one) == etag_of(*other))


def test_an_etag_is_checked_only_where_the_caller_names_one() -> None:
    check_etag("", "now", "segment vip")
    check_etag("now", "now", "segment vip")
    with pytest.raises(EtagMismatch, match="segment vip has changed"):
        check_etag("before", "now", "segment vip")
