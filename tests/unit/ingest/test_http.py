"""The bodies of requests."""

import gzip

import pytest

from libs.errors import Invalid
from services.ingest.tracking.http import _unpacked
from services.ingest.tracking.model import MOST_BATCH_BYTES


def test_a_gzip_of_several_members_is_their_texts_one_behind_the_other() -> None:
    assert b'{"event":"Bought"}' == _unpacked(gzip.compress(b'{"event":') + gzip.compress(b'"Bought"}'))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}") + b"x",
        gzip.compress(b"{}") + gzip.compress(b"{}")[:-1],
        gzip.compress(b"") * 1000,
        gzip.compress(b" " * MOST_BATCH_BYTES) + gzip.compress(b" "),
    ],
)
def test_members_that_are_cut_too_many_or_too_large_are_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        _unpacked(body)
