"""Traces: W3C `traceparent` strings between processes, OpenTelemetry spans inside one.

A span costs as much as handling an event, so there is one only where the traceparent is sampled;
everywhere else the traceparent is merely carried on.
"""

import random
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import unquote, urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from libs.observability.span_files import FileExporter

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_random = random.SystemRandom()
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


@dataclass(frozen=True)
class _Tracing:
    ratio: float
    provider: TracerProvider | None = None
    tracer: Tracer | None = None


_tracing = _Tracing(ratio=0)


def configure_traces(
    service: str, endpoint: str, ratio: float, *, exporter: SpanExporter | None = None
) -> None:
    """Record spans of `service` and send them to `endpoint`; call it once, at start.

    `endpoint` is an OTLP/HTTP URL, or `file:///path/spans.jsonl` for a line of JSON a span, or
    empty for nowhere. `ratio`, from 0 to 1, is the share of new traces that are sampled.
    `exporter` takes the place of the endpoint in tests.
    """
    global _tracing
    stop_traces()
    processor = SimpleSpanProcessor(exporter) if exporter else _processor(endpoint)
    if processor is None:
        _tracing = _Tracing(ratio)
        return
    # Whether to sample is decided before a span is made, because making one is what costs.
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create({"service.name": service}))
    provider.add_span_processor(processor)
    _tracing = _Tracing(ratio, provider, provider.get_tracer("tessera"))


def _processor(endpoint: str) -> SpanProcessor | None:
    if not endpoint:
        return None
    url = urlsplit(endpoint)
    if url.scheme == "file":
        return SimpleSpanProcessor(FileExporter(unquote(url.path)))
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))


def stop_traces() -> None:
    """Send the spans that wait, and record no more."""
    global _tracing
    if _tracing.provider is not None:
        _tracing.provider.shutdown()
    _tracing = _Tracing(ratio=0)


def current_traceparent() -> str | None:
    """Return the traceparent to hand on: in gRPC metadata, in a record's headers."""
    return _current.get()


def new_traceparent(sampled: bool) -> str:
    """Begin a trace."""
    return f"00-{_random.getrandbits(128):032x}-{_random.getrandbits(64):016x}-{int(sampled):02x}"


def should_sample(rng: random.Random) -> bool:
    """Decide by the configured ratio whether a new trace is sampled."""
    return rng.random() < _tracing.ratio


def is_sampled(traceparent: str | None) -> bool:
    """Tell whether spans are wanted; False for None and for what is no traceparent."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    return match is not None and bool(int(match[3], 16) & 1)


def unsampled(traceparent: str | None) -> str | None:
    """Return the traceparent without its wish to be sampled; None for what is no traceparent.

    For callers who may be anybody: else whoever likes could have every call of his traced.
    """
    match = _TRACEPARENT.fullmatch(traceparent or "")
    return f"00-{match[1]}-{match[2]}-00" if match else None


def span(
    name: str, traceparent: str | None = None, **attributes: AttributeValue
) -> AbstractContextManager[Span]:
    """Record what happens inside as a span, if its trace is sampled; else only carry the traceparent on.

    The parent is `traceparent`, else the current one; without either a new trace begins, sampled by
    the configured ratio. What is no traceparent counts as none. An exception marks the span as failed.
    """
    parent = traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else _current.get()
    tracer = _tracing.tracer
    if tracer is None:
        return _Carried(parent)
    if parent is None:
        if should_sample(_random):
            return _recorded(tracer, name, None, attributes)
        # Said once for the whole trace, or every step of it would draw anew.
        return _Carried(new_traceparent(sampled=False))
    return _recorded(tracer, name, parent, attributes) if is_sampled(parent) else _Carried(parent)


class _Carried(AbstractContextManager[Span]):
    """Makes a traceparent the current one, without a span."""

    __slots__ = ("_token", "_traceparent")

    def __init__(self, traceparent: str | None) -> None:
        self._traceparent = traceparent
        self._token: Token[str | None]

    def __enter__(self) -> Span:
        self._token = _current.set(self._traceparent)
        return INVALID_SPAN

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)


@contextmanager
def _recorded(
    tracer: Tracer, name: str, parent: str | None, attributes: dict[str, AttributeValue]
) -> Iterator[Span]:
    recorded = tracer.start_span(name, _context_of(parent), attributes=attributes)
    made = recorded.get_span_context()
    token = _current.set(f"00-{format_trace_id(made.trace_id)}-{format_span_id(made.span_id)}-01")
    try:
        yield recorded
    except Exception as error:
        recorded.record_exception(error)
        recorded.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        _current.reset(token)
        recorded.end()


def _context_of(parent: str | None) -> Context:
    match = _TRACEPARENT.fullmatch(parent or "")
    if match is None:
        return Context()
    ids = SpanContext(
        int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=TraceFlags(int(match[3], 16))
    )
    return set_span_in_context(NonRecordingSpan(ids), Context())
