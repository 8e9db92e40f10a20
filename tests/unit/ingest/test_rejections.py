"""What is kept of an event that was rejected."""

from collections.abc import Sequence

import pytest

from services.ingest.rejections.model import KeptRejection, Rejected
from services.ingest.rejections.use_cases import Rejections


class _Store:
    def __init__(self) -> None:
        self.kept: list[Rejected] = []

    async def keep(self, source_id: str, rejected: Sequence[Rejected], most: int) -> int:
        self.kept += rejected
        return 0

    async def page(self, before: int, limit: int, source_id: str) -> Sequence[KeptRejection]:
        return []

    async def displaced(self, source_id: str) -> int:
        return 0


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"writeKey":"secret","userId":1.5}', b'{"writeKey":"***","userId":1.5}'),
        (b'{"a":1, "write_key" : "sec\\"ret", "b":2}', b'{"a":1, "write_key" : "***", "b":2}'),
        (b"{'writekey': \"secret", b"{'writekey': \"***\""),
        (b'{"properties":{"key":"blue"}}', b'{"properties":{"key":"blue"}}'),
    ],
)
async def test_a_rejected_event_is_kept_without_its_write_key(body: bytes, kept: bytes) -> None:
    store = _Store()
    await Rejections(store, 10).keep("shop", [Rejected("shop", 1, "body", "is wrong", body)])

    assert [kept] == [one.body for one in store.kept]


async def test_a_key_does_not_come_through_where_the_body_is_cut() -> None:
    store = _Store()
    body = b'{"a":"' + b"x" * 32_740 + b'","writeKey":"' + b"secret" * 100 + b'"}'
    await Rejections(store, 10).keep("shop", [Rejected("shop", 1, "body", "is wrong", body)])

    assert b"secret" not in store.kept[0].body
