"""The unsubscribe page: GET shows one button, POST unsubscribes (RFC 8058).

GET never unsubscribes: mail scanners follow every link.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from libs.database import is_transient
from libs.errors import ResourceExhausted, Unavailable
from libs.unsubscribe import PATH, Links, Unsubscription
from services.ingest.unsubscribes.use_cases import Unsubscriber

log = structlog.get_logger(__name__)

_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{title}</title>
  <style>
    body {{ margin: 15vh auto 0; max-width: 28rem; padding: 0 1.25rem; color: #2b2a28;
      font: 1.05rem/1.55 system-ui, sans-serif; }}
    button {{ padding: .7rem 1.4rem; border: 0; border-radius: .4rem; background: #2f6b4f; color: #fff;
      font: inherit; cursor: pointer; }}
  </style>
</head>
<body>
  <h1>{title}</h1>
  {body}
</body>
</html>
"""
# An empty action is the page's own address. Whoever finds the link learns nothing of whom it is for.
_BUTTON: Final = """<p>You will get no more marketing mail from us.</p>
  <form method="post" action="">
    <button name="List-Unsubscribe" value="One-Click">Unsubscribe</button>
  </form>"""
_DONE: Final = "<p>You get no more marketing mail from us. It may take a minute until all is in effect.</p>"
_UNKNOWN: Final = "<p>This link is not complete. Please copy the whole link from the mail.</p>"
_LATER: Final = "<p>That did not work just now. Please try again in a minute.</p>"


def unsubscribe_routes(unsubscriber: Unsubscriber, links: Links) -> list[Route]:
    """The routes of the unsubscribe page."""
    return [
        Route(f"{PATH}{{token}}", _endpoint(links, _ask), methods=["GET"]),
        Route(f"{PATH}{{token}}", _endpoint(links, _withdraw(unsubscriber)), methods=["POST"]),
    ]


def _endpoint(
    links: Links, answer: Callable[[Unsubscription], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        unsubscription = links.read(request.path_params["token"])
        if unsubscription is None:
            return _page("Link not found", _UNKNOWN, 404)
        return await answer(unsubscription)

    return endpoint


async def _ask(unsubscription: Unsubscription) -> Response:
    return _page("Unsubscribe?", _BUTTON)


def _withdraw(unsubscriber: Unsubscriber) -> Callable[[Unsubscription], Awaitable[Response]]:
    async def withdraw(unsubscription: Unsubscription) -> Response:
        try:
            await unsubscriber.unsubscribe(unsubscription)
        except Exception as error:
            if not isinstance(error, Unavailable | ResourceExhausted) and not is_transient(error):
                raise
            log.warning("unsubscription not stored", error=repr(error))
            return _page("Please try again", _LATER, 503, {"retry-after": "2"})
        return _page("You are unsubscribed", _DONE)

    return withdraw


def _page(title: str, body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = _PAGE.format(title=title, body=body)
    return HTMLResponse(content, status, headers={**_HEADERS, **(headers or {})})
