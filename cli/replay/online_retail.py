"""Turns the UCI Online Retail file into a shop's history: orders, their lines, and refunds."""

import heapq
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cli.replay.call import Call, SourcedCall, to_timestamp
from cli.replay.retail_file import Line, SkippedLines, read_lines
from libs.errors import Invalid

SOURCE = "backend"
CURRENCY = "GBP"
MAX_PRODUCTS = 50
# Some invoices were written over two minutes, once with another invoice's lines in between.
_INVOICE_ENDS_AFTER = timedelta(minutes=5)


class Summary(NamedTuple):
    """What a file holds, known before it is replayed."""

    calls: int
    last: datetime


def calls(path: Path, skipped: SkippedLines | None = None) -> Iterator[SourcedCall]:
    """Yields the file's history in its order, which is that of time.

    All calls of an invoice have the time of its first line, and `Order Completed` comes last.
    """
    known: set[str] = set()
    for invoice in _invoices(path, skipped or SkippedLines()):
        head = invoice[0]
        timestamp = to_timestamp(head.time)
        who = {"userId": head.customer} if head.customer else {"anonymousId": f"invoice-{head.invoice}"}
        if head.customer and head.customer not in known:
            known.add(head.customer)
            yield SOURCE, _identify(head, timestamp)
        event = "Order Refunded" if head.cancelled else "Product Ordered"
        for number, line in enumerate(invoice, 1):
            properties = _refund(line) if head.cancelled else _ordered(line)
            yield SOURCE, _track(f"{head.invoice}-{number}", who, event, properties, timestamp)
        if not head.cancelled:
            yield (
                SOURCE,
                _track(f"{head.invoice}-order", who, "Order Completed", _order(invoice), timestamp),
            )


def summarize(path: Path) -> Summary:
    """Reads the file once for what must be known first: its last time, and how many calls it makes."""
    count, last = 0, None
    customers: set[str] = set()
    for invoice in _invoices(path, SkippedLines(logged=False)):
        head = invoice[0]
        count += len(invoice) + (not head.cancelled)
        last = head.time if last is None else max(last, head.time)
        if head.customer:
            customers.add(head.customer)
    if last is None:
        raise Invalid(str(path), "holds no line that can be read")
    return Summary(count + len(customers), last)


def _invoices(path: Path, skipped: SkippedLines) -> Iterator[list[Line]]:
    """Gathers each invoice's lines; few invoices are open at a time."""
    unfinished: dict[str, list[Line]] = {}
    finished: set[str] = set()
    for line in read_lines(path, skipped):
        lines = unfinished.get(line.invoice)
        if lines is not None:
            lines.append(line)
            continue
        while unfinished:
            oldest = next(iter(unfinished))
            if line.time - unfinished[oldest][0].time < _INVOICE_ENDS_AFTER:
                break
            finished.add(oldest)
            yield unfinished.pop(oldest)
        if line.invoice in finished:
            # Its calls would have the message ids of those before, and be dropped as duplicates.
            raise Invalid(str(path), f"is not in order of time: invoice {line.invoice} is in several places")
        unfinished[line.invoice] = [line]
    yield from unfinished.values()


def _identify(line: Line, timestamp: str) -> Call:
    consent = {"email_marketing": True, "analytics": True, "personalization": True}
    return {
        "type": "identify",
        "messageId": f"customer-{line.customer}",
        "userId": line.customer,
        "traits": {"email": f"{line.customer}@example.com", "country": line.country},
        "context": {"consent": {"categoryPreferences": consent}},
        "timestamp": timestamp,
    }


def _track(
    message_id: str, who: dict[str, str], event: str, properties: dict[str, Any], timestamp: str
) -> Call:
    return {
        "type": "track",
        "messageId": message_id,
        **who,
        "event": event,
        "properties": properties,
        "timestamp": timestamp,
    }


def _ordered(line: Line) -> dict[str, Any]:
    return {
        "order_id": line.invoice,
        "product_id": line.product_id,
        "name": line.name,
        "price": line.price,
        "quantity": line.quantity,
        "country": line.country,
    }


def _refund(line: Line) -> dict[str, Any]:
    """The file counts what came back as negative; a refund of two pieces has the quantity 2."""
    return {
        **_ordered(line),
        "quantity": -line.quantity,
        "total": _cents(-line.value),
        "currency": CURRENCY,
    }


def _order(invoice: list[Line]) -> dict[str, Any]:
    products = heapq.nlargest(MAX_PRODUCTS, invoice, key=lambda line: line.value)
    return {
        "order_id": invoice[0].invoice,
        "revenue": _cents(math.fsum(line.value for line in invoice)),
        "currency": CURRENCY,
        "quantity": sum(line.quantity for line in invoice),
        "products": [
            {
                "product_id": line.product_id,
                "name": line.name,
                "price": line.price,
                "quantity": line.quantity,
            }
            for line in products
        ],
        "products_total": len(invoice),
        "country": invoice[0].country,
    }


def _cents(amount: float) -> float:
    # Adding zero turns -0.0, which a line of -10 pieces at no price makes, into 0.0.
    return round(amount, 2) + 0.0
