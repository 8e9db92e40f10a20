"""The Segment-compatible HTTP API: POST /v1/{identify,track,page,screen,group,alias,batch}.

SDKs decide by the status alone: 200 is stored (also where some events of a batch were rejected,
which the answer lists), 400 and 401 are never sent again, 429 and 503 are.
"""

import base64
import binascii
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

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

_CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")
# analytics-next posts to the first letter.
_SHORT: Final = {call[0]: call for call in _CALLS}
_RETRY_SECONDS: Final = "2"
# While the log is gone, every request says so: as often as clients try.
_unavailable = Repeats()
_STATUS: Final = {Invalid: 400, Unauthenticated: 401, ResourceExhausted: 429, Unavailable: 503}


def tracking_routes(
    authenticator: Authenticator, collector: Collector, trace_public: bool = False
) -> list[Route]:
    """The routes of the tracking API, by all the names that SDKs have for them."""
    api = _Api(authenticator, collector, trace_public)
    batches = ("/v1/batch", "/v1/b", "/beacon/v1/batch", "/api/s/batch", "/api/s/s2s/batch")
    singles = {f"/v1/{path}": call for path, call in _SHORT.items()}
    for prefix in ("/v1", "/api/s", "/api/s/s2s"):
        singles |= {f"{prefix}/{call}": call for call in _CALLS}
    return [
        *(Route(path, api.batch, methods=["POST"]) for path in batches),
        *(Route(path, api.single(call), methods=["POST"]) for path, call in singles.items()),
    ]


class _Api:
    def __init__(self, authenticator: Authenticator, collector: Collector, trace_public: bool) -> None:
        self._authenticator = authenticator
        self._collector = collector
        self._trace_public = trace_public

    async def batch(self, request: Request) -> Response:
        """Take a batch of calls."""

        async def collect() -> Result:
            batch = decode_batch(await _body(request))
            source = await self._authenticator.by_key(*_write_keys(request), batch.write_key)
            return await self._collect(request, source, wire.batch_items(batch))

        return await _answered(request, collect)

    def single(self, call: str) -> Callable[[Request], Awaitable[Response]]:
        """Take one call."""

        async def endpoint(request: Request) -> Response:
            async def collect() -> Result:
                body = await _body(request)
                keys = _write_keys(request) or (write_key_of(body),)
                source = await self._authenticator.by_key(*keys)
                result = await self._collect(request, source, [wire.call_item(body, call)])
                for rejection in result.rejections:
                    metrics.EVENTS_REJECTED.labels("http").inc()
                    raise rejection.error
                return result

            return await _answered(request, collect)

        return endpoint

    async def _collect(self, request: Request, source: Source, items: Sequence[Item]) -> Result:
        traceparent = request.headers.get("traceparent")
        # A browser's key is public: who has it has no say in what is traced.
        may_ask = source.trusted or self._trace_public
        parent = traceparent if may_ask else traces.unsampled(traceparent)
        with traces.span(f"ingest {request.url.path}", parent):
            return await self._collector.collect(source, items)


async def _answered(request: Request, collect: Callable[[], Awaitable[Result]]) -> Response:
    try:
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
        return json_response({"success": False, "code": "INTERNAL", "message": "internal error"}, 500)
    metrics.EVENTS_ACCEPTED.labels("http").inc(result.accepted)
    metrics.EVENTS_REJECTED.labels("http").inc(len(result.rejections))
    return json_response(wire.answer_of(result))


def _refusal(error: TesseraError) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
    content: dict[str, object] = {"success": False, "code": error.reason, "message": error.message}
    if isinstance(error, Invalid):
        content["field"] = error.field
    response = json_response(content, status)
    if status in (429, 503):
        response.headers["retry-after"] = response.headers["x-ratelimit-reset"] = _RETRY_SECONDS
    return response


def json_response(content: dict[str, object], status: int = 200) -> Response:
    """An answer that SDKs understand: it has a `code` and a `message` where it is no success."""
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


def _write_keys(request: Request) -> tuple[str, ...]:
    """What may be the write key: by HTTP Basic, `X-Write-Key` or a query parameter; the first that is a key.

    Basic says `key:` or `key`, and a key may hold a colon itself: then it is all of it.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            said = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise Unauthenticated("the Authorization header is not valid Basic") from None
        user = said.partition(":")[0]
        if user:
            return said.removesuffix(":"), user
    named = request.headers.get("x-write-key", "") or request.query_params.get("writeKey", "")
    return (named,) if named else ()
