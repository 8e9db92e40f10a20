"""Reads the lines of the UCI Online Retail file, and reports those that can't be read."""

import csv
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TextIO, cast

import structlog

from libs.errors import Invalid, NotFound

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

_FILE = Path("online-retail", "online_retail.csv.zst")
_REPORTED = 100

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class SkippedLines:
    """How many lines could not be read, and where the first hundred are."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)
    logged: bool = True

    def add(self, number: int, reason: str) -> None:
        self.count += 1
        if self.count <= _REPORTED:
            self.first.append((number, reason))
            if self.logged:
                log.warning("line skipped", line=number, reason=reason)


class Line(NamedTuple):
    """One product of an invoice."""

    invoice: str
    product_id: str
    name: str
    quantity: int
    time: datetime
    price: float
    customer: str
    country: str

    @property
    def value(self) -> float:
        return self.quantity * self.price

    @property
    def cancelled(self) -> bool:
        return self.invoice.startswith("C")


def find(data: Path) -> Path:
    """Finds the file: `data` itself, in it, or in a data folder under one of its two usual places."""
    if data.is_file():
        return data
    places = [data / _FILE.name, data / _FILE, data / "datasets" / _FILE]
    for place in places:
        if place.is_file():
            return place
    tried = " or ".join(str(place) for place in places)
    raise NotFound(f"there is no Online Retail file at {tried}", path=data)


def read_lines(path: Path, skipped: SkippedLines) -> Iterator[Line]:
    """Reads lines; what can't be understood is reported and left out."""
    with _opened(path) as file:
        text = _NumberedText(file, skipped)
        reader = csv.reader(text)
        header = next(reader, [])
        pick = itemgetter(*_places(path, header))
        stamp, time = "", datetime.min.replace(tzinfo=UTC)
        while True:
            try:
                row = next(reader)
                if not row:
                    continue
                if len(row) != len(header):
                    raise ValueError(f"{len(row)} columns instead of {len(header)}")
                invoice, product_id, name, quantity, written, price, customer, country = pick(row)
                if written != stamp:
                    # Neighbours share their time.
                    time, stamp = _time(written), written
                line = Line(
                    _required("InvoiceNo", invoice),
                    _required("StockCode", product_id),
                    name.strip(),
                    int(quantity),
                    time,
                    _finite(price),
                    _customer(customer),
                    country,
                )
            except StopIteration:
                return
            except (ValueError, csv.Error) as error:
                skipped.add(text.number, str(error))
            except (zstd.ZstdError, EOFError) as error:
                raise Invalid(str(path), f"is damaged after line {text.number}: {error}") from error
            else:
                yield line


def _opened(path: Path) -> TextIO:
    if not path.is_file():
        raise NotFound(f"there is no file {path}", path=path)
    if path.suffix != ".zst":
        return path.open(encoding="utf-8-sig", errors="replace", newline="")
    opened = zstd.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return cast(TextIO, opened)


class _NumberedText:
    """The lines of a file that are whole, and the number of the last one.

    No field holds a line break; a quote that is never closed would swallow the lines after it.
    """

    def __init__(self, file: TextIO, skipped: SkippedLines) -> None:
        self.number = 0
        self._file = file
        self._skipped = skipped

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            if line.count('"') % 2:
                self._skipped.add(self.number, "a quote is not closed")
            elif "\ufffd" in line:
                self._skipped.add(self.number, "not UTF-8")
            else:
                yield line


def _places(path: Path, header: list[str]) -> list[int]:
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise Invalid(str(path), f"lacks the columns {', '.join(missing)}")
    return [header.index(column) for column in COLUMNS]


def _required(column: str, value: str) -> str:
    if not value:
        raise ValueError(f"{column} is empty")
    return value


def _time(written: str) -> datetime:
    """Takes the file's local times as UTC."""
    time = datetime.fromisoformat(written)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _finite(price: str) -> float:
    value = float(price)
    if not math.isfinite(value):
        raise ValueError(f"not a price: {price!r}")
    return value


def _customer(written: str) -> str:
    """Customers are written as decimal numbers, `17850.0`, because some are missing."""
    customer = written.removesuffix(".0")
    if customer and not customer.isdecimal():
        raise ValueError(f"not a customer: {written!r}")
    return customer
