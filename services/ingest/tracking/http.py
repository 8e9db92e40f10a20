"""The Segment-compatible HTTP API: POST /v1/{identify,track,page,screen,group,alias,batch}.

SDKs decide by the status alone: 200 is stored (also where some events of a batch were rejected,
which the answer lists), 400 and 401 are never sent again, 429 and 503 are.

It speaks ASGI itself. SDKs in browsers send each event in a request of its own, and a framework's routes,
middleware and request objects took more than half of what such a request costs.
"""

import base64
import binascii
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
import structlog

from libs.database import is_transient
from libs.errors import Invalid, ResourceExhausted, TesseraError, Unauthenticated, Unavailable
from libs.observability import metrics, traces
from libs.repeats import Repeats
from libs.tracking.calls import decode_batch, write_key_of
from services.ingest.sources.model import Source
from services.ingest.sources.use_cases import Authenticator
from services.ingest.tracking import wire
from services.ingest.tracking.model import MOST_BATCH_BYTES
from services.ingest.tracking.use_cases import Collector, Item, Result

log = structlog.get_logger(__name__)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]

_CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")
_BATCH: Final = ""
_RETRY_SECONDS: Final = b"2"
# Each costs a decoder of its own: a body of nothing but empty ones only wants to keep us busy.
_MOST_MEMBERS: Final = 64
# While the log is gone, every request says so: as often as clients try.
_unavailable = Repeats()
_STATUS: Final = {Invalid: 400, Unauthenticated: 401, ResourceExhausted: 429, Unavailable: 503}
_ACCEPTED: Final = metrics.EVENTS_ACCEPTED.labels("http")
_REJECTED: Final = metrics.EVENTS_REJECTED.labels("http")
_SUCCESS: Final = orjson.dumps({"success": True})


def _paths() -> dict[str, str]:
    """The call that each path takes, by all the names that SDKs have for them; empty for a batch."""
    paths = dict.fromkeys(
        ("/v1/batch", "/v1/b", "/beacon/v1/batch", "/api/s/batch", "/api/s/s2s/batch"), _BATCH
    )
    # analytics-next posts to the first letter.
    paths |= {f"/v1/{call[0]}": call for call in _CALLS}
    for prefix in ("/v1", "/api/s", "/api/s/s2s"):
        paths |= {f"{prefix}/{call}": call for call in _CALLS}
    return paths


_PATHS: Final = _paths()


class _Disconnected(Exception):
    """The client has gone before its request was whole."""


class _Request:
    """What is read of a request."""

    __slots__ = ("_query", "_receive", "headers", "path")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._query: bytes = scope["query_string"]
        self._receive = receive

    def header(self, name: bytes) -> str:
        """A header, or nothing."""
        return self.headers.get(name, b"").decode("latin-1")

    def parameter(self, name: str) -> str:
        """A parameter of the query, or nothing."""
        if not self._query:
            return ""
        return parse_qs(self._query.decode("latin-1")).get(name, [""])[0]

    async def body(self) -> bytes:
        """The body, unpacked; Invalid where it is too large."""
        body = await self._read()
        return _unpacked(body) if self.header(b"content-encoding").lower() == "gzip" else body

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            part = message.get("body", b"")
            size += len(part)
            if size > MOST_BATCH_BYTES:
                raise Invalid("body", f"has more than {MOST_BATCH_BYTES:,} bytes")
            if not message.get("more_body", False):
                return b"".join((*parts, part)) if parts else part
            parts.append(part)


class TrackingApi:
    """An ASGI application that takes tracking calls, and leaves every other request to another."""

    def __init__(
        self, authenticator: Authenticator, collector: Collector, otherwise: Asgi, trace_public: bool = False
    ) -> None:
        self._authenticator = authenticator
        self._collector = collector
        self._otherwise = otherwise
        self._trace_public = trace_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        call = _PATHS.get(scope["path"]) if scope["type"] == "http" else None
        if call is None or scope["method"] == "OPTIONS":
            await self._otherwise(scope, receive, send)
            return
        request = _Request(scope, receive)
        if scope["method"] != "POST":
            refused = {"success": False, "code": "NOT_FOUND", "message": "Method Not Allowed"}
            await _respond(request, send, 405, orjson.dumps(refused), ((b"allow", b"POST"),))
            return
        try:
            status, body = await self._answer(request, call)
        except _Disconnected:
            return
        more = ((b"retry-after", _RETRY_SECONDS), (b"x-ratelimit-reset", _RETRY_SECONDS))
        await _respond(request, send, status, body, more if status in (429, 503) else ())

    async def _answer(self, request: _Request, call: str) -> tuple[int, bytes]:
        """The status and the body of what became of the calls."""
        try:
            result = await (self._single(request, call) if call else self._batch(request))
        except TesseraError as error:
            return _refusal(error)
        except _Disconnected:
            raise
        except Exception as error:
            if is_transient(error):
                held_back = _unavailable.held_back(type(error).__name__)
                if held_back is not None:
                    log.warning("log unavailable", error=repr(error), suppressed=held_back)
                return _refusal(Unavailable("the events could not be stored: try again"))
            log.exception("request failed")
            content = {"success": False, "code": "INTERNAL", "message": "internal error"}
            return 500, orjson.dumps(content)
        _ACCEPTED.inc(result.accepted)
        if result.rejections:
            _REJECTED.inc(len(result.rejections))
        elif not result.warnings:
            return 200, _SUCCESS
        return 200, orjson.dumps(wire.answer_of(result))

    async def _batch(self, request: _Request) -> Result:
        batch = decode_batch(await request.body())
        source = await self._authenticator.by_key(*_write_keys(request), batch.write_key)
        return await self._collect(request, source, wire.batch_items(batch))

    async def _single(self, request: _Request, call: str) -> Result:
        body = await request.body()
        source = await self._authenticator.by_key(*(_write_keys(request) or (write_key_of(body),)))
        result = await self._collect(request, source, [wire.call_item(body, call)])
        for rejection in result.rejections:
            _REJECTED.inc()
            raise rejection.error
        return result

    async def _collect(self, request: _Request, source: Source, items: Sequence[Item]) -> Result:
        traceparent: str | None = request.header(b"traceparent")
        # A browser's key is public: who has it has no say in what is traced.
        if not source.trusted and not self._trace_public:
            traceparent = traces.unsampled(traceparent)
        with traces.span(f"ingest {request.path}", traceparent):
            return await self._collector.collect(source, items)


async def _respond(
    request: _Request, send: Send, status: int, body: bytes, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *more]
    # A browser's key is public, so any page may send with it; there are no cookies to protect.
    if b"origin" in request.headers:
        headers.append((b"access-control-allow-origin", b"*"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _refusal(error: TesseraError) -> tuple[int, bytes]:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
    # An SDK that finds no `code` and no `message` in an answer fails, or sends again for ever.
    content: dict[str, object] = {"success": False, "code": error.reason, "message": error.message}
    if isinstance(error, Invalid):
        content["field"] = error.field
    return status, orjson.dumps(content)


def _unpacked(body: bytes) -> bytes:
    """The members of a gzip file, one behind the other, as RFC 1952 has it."""
    unpacked = b""
    for _ in range(_MOST_MEMBERS):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            unpacked += unpacker.decompress(body, MOST_BATCH_BYTES + 1 - len(unpacked))
        except zlib.error as error:
            raise Invalid("body", f"is not valid gzip: {error}") from None
        if len(unpacked) > MOST_BATCH_BYTES:
            raise Invalid("body", f"has more than {MOST_BATCH_BYTES:,} bytes")
        if not unpacker.eof:
            raise Invalid("body", "is not a whole gzip stream")
        body = unpacker.unused_data
        if not body:
            return unpacked
    raise Invalid("body", f"has more than {_MOST_MEMBERS} gzip members")


def _write_keys(request: _Request) -> tuple[str, ...]:
    """What may be the write key: by HTTP Basic, `X-Write-Key` or a query parameter; the first that is a key.

    Basic says `key:` or `key`, and a key may hold a colon itself: then it is all of it.
    """
    scheme, _, value = request.header(b"authorization").partition(" ")
    if scheme.lower() == "basic":
        try:
            said = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise Unauthenticated("the Authorization header is not valid Basic") from None
        user = said.partition(":")[0]
        if user:
            return said.removesuffix(":"), user
    named = request.header(b"x-write-key") or request.parameter("writeKey")
    return (named,) if named else ()
