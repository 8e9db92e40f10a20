"""Page sizes and page tokens."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from libs import rpc
from libs.errors import Invalid


@pytest.mark.parametrize(("requested", "size"), [(0, 50), (7, 7), (500, 500), (501, 500), (2**31 - 1, 500)])
def test_a_page_size_has_a_default_and_a_maximum(requested: int, size: int) -> None:
    actual = rpc.page_size(requested, default=50, maximum=500)

    assert size == actual


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        rpc.page_size(-1, default=50, maximum=500)

    assert "page_size" == refused.value.field


def test_a_token_gives_back_the_key_that_it_was_made_of() -> None:
    key = (datetime(2026, 3, 1, 12, 30, 1, 999999, tzinfo=UTC), "ключ", 2**60, UUID(int=7))

    token = rpc.encode_token("list", *key)
    actual = rpc.decode_token(token, "list", tuple[datetime, str, int, UUID])

    assert key == actual
    assert token.replace("-", "").replace("_", "").isalnum()


def test_the_first_page_has_no_token() -> None:
    assert rpc.decode_token("", "list", tuple[str]) is None


@pytest.mark.parametrize(
    "token",
    [
        *("?", "a", "é", "AAAA"),
        rpc.encode_token("list", 1),
        rpc.encode_token("list", "a", "b"),
        rpc.encode_token("list", "a")[:-2],
        rpc.encode_token("another list", "a"),
    ],
)
def test_a_token_of_something_else_is_refused(token: str) -> None:
    with pytest.raises(Invalid) as refused:
        rpc.decode_token(token, "list", tuple[str])

    assert ("page_token", "INVALID_PAGE_TOKEN") == (refused.value.field, refused.value.reason)
