"""A real sales history as a workload: which products people really put together, and when.

Only what a basket needs is read (invoice, product, quantity, time); `everopen replay` is the exact replay with prices and
books. Columns as in the Online Retail file of the UCI repository, which one month of is shipped.
"""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import msgspec

from everopen.base.errors import InputError

LINES_MAX = 100
QUANTITY_MAX = 1000
TIMES = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%y %H:%M", "%Y-%m-%dT%H:%M:%S")


class Basket(msgspec.Struct, frozen=True):
    """What one customer bought at once. `at` is in seconds from the first basket."""

    at: float
    lines: tuple[tuple[str, int], ...]


def read_baskets(path: Path | None = None, *, prefix: str = "", most: int = 100_000) -> list[Basket]:
    """The baskets of a CSV file (also .gz) in order of time; without a path those of the shipped month. Cancellations are
    left out; SKUs get the prefix. Raises InputError."""
    try:
        raw = (
            path.read_bytes()
            if path is not None
            else files("everopen.data").joinpath("online-retail-2010-12.csv.gz").read_bytes()
        )
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig", errors="replace")
    except OSError as problem:
        raise InputError(f"{path} can't be read: {problem}.", "Check the path.") from None
    found: dict[str, tuple[datetime, dict[str, int]]] = {}
    for row in csv.DictReader(text.splitlines()):
        invoice = (row.get("InvoiceNo") or row.get("Invoice") or "").strip()
        sku = (row.get("StockCode") or "").strip()
        at = _time(row.get("InvoiceDate") or "")
        try:
            quantity = int(row.get("Quantity") or 0)
        except ValueError:
            continue
        if not invoice or not sku or at is None or quantity <= 0 or invoice.upper().startswith("C"):
            continue
        lines = found.setdefault(invoice, (at, {}))[1]
        if sku in lines or len(lines) < LINES_MAX:
            lines[sku] = min(QUANTITY_MAX, lines.get(sku, 0) + quantity)
    if not found:
        raise InputError(
            f"{path} has no baskets.", "Expected columns InvoiceNo, StockCode, Quantity, InvoiceDate."
        )
    ordered = sorted(found.values(), key=lambda basket: basket[0])[:most]
    first = ordered[0][0]
    return [
        Basket((at - first).total_seconds(), tuple((f"{prefix}{sku}"[:64], n) for sku, n in lines.items()))
        for at, lines in ordered
    ]


def arrivals_like(baskets: list[Basket], rate: float, seconds: float) -> list[float]:
    """When baskets come, with the gaps they really had, squeezed so that `rate` a second come on average."""
    span = max(baskets[-1].at, 1e-9)
    squeeze = len(baskets) / rate / span
    times = (basket.at * squeeze for basket in baskets)
    return [at for at in times if at < seconds]


def _time(text: str) -> datetime | None:
    for form in TIMES:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None
