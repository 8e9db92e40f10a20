"""Keeps events that were not accepted, and shows them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from libs.observability import metrics
from services.ingest.rejections.model import KeptRejection, Rejected
from services.ingest.rejections.ports import RejectionStore

_MOST_FIELD: Final = 200
_MOST_REASON: Final = 1_000
_MOST_BODY: Final = 32_768
# SDKs may send it in the body, and a body that is rejected need not be JSON.
_WRITE_KEY: Final = re.compile(rb"""(["']write_?key["']\s*:\s*)"(?:[^"\\]|\\.)*"?""", re.IGNORECASE)


class Rejections:
    """Keeps the newest of each source: whoever has a public key can cause as many as he likes."""

    def __init__(self, store: RejectionStore, most: int) -> None:
        self._store = store
        self._most = most

    async def keep(self, source_id: str, rejected: Sequence[Rejected]) -> None:
        """Store those of one source; its oldest make room."""
        cut = [
            replace(
                one,
                field=one.field.replace("\0", "\ufffd")[:_MOST_FIELD],
                reason=one.reason.replace("\0", "\ufffd")[:_MOST_REASON],
                body=_WRITE_KEY.sub(rb'\1"***"', one.body)[:_MOST_BODY],
            )
            for one in rejected
        ]
        displaced = await self._store.keep(source_id, cut, self._most)
        metrics.REJECTIONS_DISPLACED.inc(displaced)

    async def page(self, before: int, limit: int, source_id: str) -> tuple[Sequence[KeptRejection], int]:
        """A page of them, newest first, and how many more made room for newer ones."""
        return await self._store.page(before, limit, source_id), await self._store.displaced(source_id)
