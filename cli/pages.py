"""Reads lists that the services answer page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

_MOST = 500


class PageRequest(Protocol):
    """Asks for a page."""

    page_size: int
    page_token: str


class Page(Protocol):
    """A page, which names the next one."""

    @property
    def next_page_token(self) -> str: ...


Request = TypeVar("Request", bound=PageRequest)
Answer = TypeVar("Answer", bound=Page)


async def pages(call: Callable[[Request], Awaitable[Answer]], request: Request) -> AsyncIterator[Answer]:
    """All pages of a list, as large as they may be unless the request says how large."""
    request.page_size = request.page_size or _MOST
    while True:
        page = await call(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
