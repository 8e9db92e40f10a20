"""The Segment-compatible HTTP API: POST /v1/{identify,track,page,screen,group,alias,batch}.

SDKs decide by the status alone: 200 is stored (also where some events of a batch were rejected,
which the answer lists), 400 and 401 are never sent again, 429 and 503 are.
"""

import asyncio
import base64
import binascii
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import orjson
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from libs.database import is_transient
from libs.errors import Invalid, ResourceExhausted, TesseraError, Unauthenticated, Unavailable
from libs.observability import metrics, traces
from libs.repeats import Repeats
from services.ingest import convert
from services.ingest.domain import MOST_BATCH_BYTES
from services.ingest.handlers import Collector, Item, Result

log = structlog.get_logger(__name__)

_CALLS = ("identify", "track", "page", "screen", "group", "alias")
# analytics-next posts to the first letter.
_SHORT = {call[0]: call for call in _CALLS}
_RETRY_SECONDS = "2"
# While the log is gone, every request says so: as often as clients try.
_unavailable = Repeats()
_STATUS = {Invalid: 400, Unauthenticated: 401, ResourceExhausted: 429, Unavailable: 503}


def create_app(collector: Collector, unsubscribe: Sequence[Route] = ()) -> Starlette:
    """The HTTP application."""
    api = _Api(collector)
    routes = [
        Route("/v1/batch", api.batch, methods=["POST"]),
        Route("/v1/b", api.batch, methods=["POST"]),
        Route("/beacon/v1/batch", api.batch, methods=["POST"]),
        *(Route(f"/v1/{path}", api.single(call), methods=["POST"]) for path, call in _SHORT.items()),
        *(Route(f"/v1/{call}", api.single(call), methods=["POST"]) for call in _CALLS),
        *unsubscribe,
    ]
    # A browser's key is public, so any page may send with it; there are no cookies to protect.
    cors = Middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["*"], max_age=86_400
    )
    return Starlette(routes=routes, middleware=[cors], exception_handlers={HTTPException: _no_such_call})


class _Api:
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def batch(self, request: Request) -> Response:
        """Take a batch of calls."""

        async def collect() -> Result:
            batch = convert.batch_of(await _body(request))
            source = await self._collector.source_of(_write_key(request, batch.write_key or ""))
            return await self._collector.collect(source, convert.batch_items(batch))

        return await _answered(request, collect)

    def single(self, call: str) -> Callable[[Request], Awaitable[Response]]:
        """Take one call."""

        async def endpoint(request: Request) -> Response:
            async def collect() -> Result:
                body = await _body(request)
                source = await self._collector.source_of(
                    _write_key(request, "") or convert.write_key_of(body)
                )
                item: Item = convert.call_item(body, call)
                result = await self._collector.collect(source, [item])
                for rejection in result.rejections:
                    metrics.EVENTS_REJECTED.labels("http").inc()
                    raise rejection.error
                return result

            return await _answered(request, collect)

        return endpoint


async def _no_such_call(request: Request, error: Exception) -> Response:
    """An SDK that finds no `code` in an answer fails, or sends again for ever."""
    assert isinstance(error, HTTPException)
    content: dict[str, object] = {"success": False, "code": "NOT_FOUND", "message": error.detail}
    return _json(content, error.status_code)


async def _answered(request: Request, collect: Callable[[], Awaitable[Result]]) -> Response:
    try:
        with traces.span(f"ingest {request.url.path}", request.headers.get("traceparent")):
            result = await collect()
    except TesseraError as error:
        return _refusal(error)
    except ClientDisconnect:
        return Response(status_code=400)  # to nobody
    except Exception as error:
        if is_transient(error):
            held_back = _unavailable.held_back(type(error).__name__)
            if held_back is not None:
                log.warning("log unavailable", error=repr(error), suppressed=held_back)
            return _refusal(Unavailable("the events could not be stored: try again"))
        log.exception("request failed")
        return _json({"success": False, "code": "INTERNAL", "message": "internal error"}, 500)
    metrics.EVENTS_ACCEPTED.labels("http").inc(result.accepted)
    metrics.EVENTS_REJECTED.labels("http").inc(len(result.rejections))
    answer: dict[str, object] = {"success": True}
    if result.rejections:
        answer["rejected"] = [
            {
                "index": r.index,
                "messageId": r.message_id,
                "field": r.error.field,
                "reason": r.error.problem,
                "code": r.error.reason,
            }
            for r in result.rejections
        ]
    return _json(answer)


def _refusal(error: TesseraError) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
    content: dict[str, object] = {"success": False, "code": error.reason, "message": error.message}
    if isinstance(error, Invalid):
        content["field"] = error.field
    response = _json(content, status)
    if status in (429, 503):
        response.headers["retry-after"] = response.headers["x-ratelimit-reset"] = _RETRY_SECONDS
    return response


def _json(content: dict[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _body(request: Request) -> bytes:
    """The request's body, unpacked; Invalid where it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BATCH_BYTES:
            raise Invalid("body", f"has more than {MOST_BATCH_BYTES:,} bytes")
        parts.append(part)
    body = b"".join(parts)
    if request.headers.get("content-encoding", "").lower() != "gzip":
        return body
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, MOST_BATCH_BYTES + 1)
    except zlib.error as error:
        raise Invalid("body", f"is not valid gzip: {error}") from None
    if len(unpacked) > MOST_BATCH_BYTES:
        raise Invalid("body", f"has more than {MOST_BATCH_BYTES:,} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise Invalid("body", "is not one whole gzip stream")
    return unpacked


def _write_key(request: Request, in_body: str) -> str:
    """The write key by HTTP Basic (`key:` or `key`), a query parameter, or the body."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user = base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, ValueError):
            raise Unauthenticated("the Authorization header is not valid Basic") from None
        if user:
            return user
    return request.query_params.get("writeKey", "") or in_body


class HttpServer:
    """Serves an application until it is asked to stop: a lifecycle component."""

    def __init__(self, app: Starlette, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=int(port),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=10,
                server_header=False,
            )
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve, and let the requests in flight finish."""
        serving = asyncio.create_task(self._server.serve())
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        self._server.should_exit = True
        asked.cancel()
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process's lifecycle listens to signals."""
        yield
