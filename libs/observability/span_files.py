"""Spans as lines of JSON in a file: what the local demo and tests read instead of a collector."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id


class FileExporter(SpanExporter):
    """Appends one line a span: service, name, ids (hex), start (ns since 1970), seconds, status.

    The folder is made if need be; `OSError` where that fails.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        # One write in append mode: the five services of a laptop may share the file.
        with self._path.open("ab", buffering=0) as file:
            file.write(b"".join(orjson.dumps(_line(span), default=str) + b"\n" for span in spans))
        return SpanExportResult.SUCCESS


def _line(span: ReadableSpan) -> dict[str, object]:
    ids = span.get_span_context()
    start, end = span.start_time or 0, span.end_time or 0
    return {
        "service": span.resource.attributes.get("service.name"),
        "name": span.name,
        "trace_id": format_trace_id(ids.trace_id) if ids else None,
        "span_id": format_span_id(ids.span_id) if ids else None,
        "parent_id": format_span_id(span.parent.span_id) if span.parent else None,
        "start_ns": start,
        "seconds": (end - start) / 1e9,
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
    }
