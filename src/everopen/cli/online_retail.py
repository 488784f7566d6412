"""Reads the sales file of a real shop (UCI "Online Retail", D. Chen, 2015, CC BY 4.0), strictly.

Strict and lenient are two different things here. A file that is not what it says (header, encoding, delimiter, a torn
line) is refused as a whole with the line's number, before anything is sent. A file that is merely as untidy as real
life (no customer, no description, price 0, codes in two spellings) is read in full, and every oddity is written down
line by line. A forgiving CSV reader was turned down: it turns one lost quote into a thousand silently wrong articles.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from everopen.base.errors import InputError

HEADER = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
CURRENCY = "GBP"
FILE_BYTES_MAX = 512 * 1024 * 1024
QUANTITY_MAX = 1_000_000
TEXT_CHARS_MAX = 500
CODE_CHARS_MAX = 64

NO_STOCK_CODES = frozenset(
    {"POST", "DOT", "C2", "C3", "M", "D", "S", "B", "AMAZONFEE", "BANK CHARGES", "CRUK", "ADJUST", "ADJUST2"}
)
"""Postage, carriage, manual lines, discounts, samples, fees and bookkeeping: nothing that lies on a shelf."""
NO_STOCK_PREFIXES = ("GIFT_",)
"""Vouchers. All other codes (also DCGS…, SP…, PADS) are articles that are counted."""

KINDS = {
    "code_spelling": "stock code in lower case or padded; taken as the same article as its upper-case spelling",
    "padded_title": "description with spaces around it; trimmed",
    "missing_title": "no description; title taken from other lines of the article",
    "missing_customer": "invoice without a customer; sent for guest@history.invalid",
    "two_dates": "lines of one invoice bear different times; the first one counts",
    "free_line": "price 0 in a sale; sold for nothing",
    "repeated_sku": "the same article at the same price more than once in an invoice; quantities added up",
    "two_prices": "the same article at different prices in one invoice; kept as separate lines",
    "no_stock": "postage, fee, discount, voucher or manual line; has no stock",
    "stock_correction": "no price and no customer: not a sale; counted as a correction of stock",
    "negative_sale": "negative quantity with a price outside a cancellation; treated as returned goods",
    "zero_quantity": "quantity 0; nothing to do",
    "part_of_a_penny": "price with more than two digits after the point; rounded to the penny",
    "bookkeeping": "invoice number with another letter than C, or a negative price: bookkeeping, not trade; not sent",
}
"""What a reader may find, and what is done about it."""


class SalesLine(msgspec.Struct, frozen=True):
    """One line of the file. `price` is in pence; `sku` is the code as the shop knows it (trimmed, upper case)."""

    number: int
    invoice: str
    sku: str
    title: str
    quantity: int
    at: datetime
    price: int
    customer: str


class Finding(msgspec.Struct, frozen=True):
    """Something wrong or unusual on one line, and what was done about it."""

    line: int
    kind: str
    invoice: str
    what: str


class SalesFile(msgspec.Struct, frozen=True):
    """The whole file: its lines in their order and what was odd about them."""

    lines: tuple[SalesLine, ...]
    findings: tuple[Finding, ...]


def track_stock(sku: str) -> bool:
    """Whether an article with this code lies on a shelf and is counted."""
    return sku not in NO_STOCK_CODES and not sku.startswith(NO_STOCK_PREFIXES)


# --- the file as text ---------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The file's text, unpacked when it is gzip. Raises InputError that names the file, and the line if there is one."""
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise InputError(
            f"{path} can't be read: {problem.strerror}.", "Check the path and its permissions."
        ) from None
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as packed:
                raw = packed.read(FILE_BYTES_MAX + 1)
        except (OSError, EOFError, zlib.error):
            raise InputError(f"{path} is a damaged gzip file.", "Fetch or compress it again.") from None
    if len(raw) > FILE_BYTES_MAX:
        raise InputError(f"{path} is larger than {FILE_BYTES_MAX // 2**20} MiB.", "Split it by month.")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}, line 1: the file is UTF-16, not UTF-8.", "Save it as CSV UTF-8.")
    if raw[:4] == b"PK\x03\x04":
        raise InputError(
            f"{path} is a spreadsheet or zip file, not CSV.", "Save it as CSV UTF-8, or unzip it."
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise InputError(
            f"{path}, line {line}: byte 0x{raw[problem.start]:02x} is not UTF-8.",
            "Save the file as CSV UTF-8 (it may be Windows-1252 or Latin-1: `iconv -f WINDOWS-1252 -t UTF-8`).",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            f"{path}, line {line}: there is a zero byte; this is no text.", "Export the file again."
        )
    if not text.strip():
        raise InputError(f"{path} is empty.", "Export the file again.")
    return text


def read_table(
    path: Path, headers: Iterable[tuple[str, ...]], also: Callable[[tuple[str, ...]], bool] = lambda _: False
) -> tuple[tuple[str, ...], Iterator[tuple[int, list[str]]]]:
    """The header, which must be one of `headers` or one that `also` takes, and the rows as (line number, fields).

    Rows are read lazily; each has as many fields as the header, and no field runs over the end of its line."""
    rows = _rows(path, read_text(path))
    accepted = list(headers)
    number, first = next(rows)
    header = tuple(first)
    if header not in accepted and not also(header):
        raise InputError(f"{path}, line {number}: {_about_header(first, accepted)}", _expected(accepted))
    return header, _checked(path, header, rows)


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    seen = 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            if reader.line_num > seen + 1 or "end of data" in str(problem):
                raise _open_quote(path, seen + 1) from None
            raise InputError(
                f"{path}, line {seen + 1}: the line is broken ({problem}).",
                "A text with a comma or a quote in it stands in double quotes, with quotes inside doubled.",
            ) from None
        seen += 1
        if reader.line_num != seen:
            raise _open_quote(path, seen)
        if fields:  # a blank line is nothing, most often the last one
            yield seen, fields


def _open_quote(path: Path, line: int) -> InputError:
    return InputError(
        f"{path}, line {line}: a quoted text doesn't end on its line.",
        "Close the quote, or double a quote that belongs to the text.",
    )


def _checked(
    path: Path, header: tuple[str, ...], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    for number, fields in rows:
        if len(fields) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(fields)} fields where the header has {len(header)}.",
                "The line is torn, or a text with a comma lacks its quotes. Nothing was sent.",
            )
        yield number, fields


def _about_header(first: list[str], accepted: list[tuple[str, ...]]) -> str:
    names = {name for header in accepted for name in header}
    for delimiter, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if (
            len(first) == 1
            and names & {part.strip('" ') for part in first[0].split(delimiter)}
            and delimiter in first[0]
        ):
            return f"the columns are divided by {word}, not by commas."
    if {field.strip().lower() for field in first} & {name.lower() for name in names}:
        return f"the header is {','.join(first)[:200]!r}."
    return f"there is no header; the line begins {','.join(first)[:60]!r}."


def _expected(accepted: list[tuple[str, ...]]) -> str:
    return "Expected: " + " or ".join(",".join(header) for header in accepted) + "."


# --- lines --------------------------------------------------------------------------------------------------------

_INVOICE = re.compile(r"[A-Za-z]?[0-9]{1,20}")
_QUANTITY = re.compile(r"-?[0-9]{1,9}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_CUSTOMER = re.compile(r"[0-9A-Za-z_-]{0,32}")
_PRICE = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,9}))?")


def read_sales(path: Path) -> SalesFile:
    """Reads and checks the whole file. Raises InputError with the line's number at the first broken line.

    Times in the file have no zone; they are taken as UTC (the shop is British, the month is December)."""
    _, rows = read_table(path, [HEADER])
    lines: list[SalesLine] = []
    findings: list[Finding] = []
    dates: dict[str, datetime] = {}
    for number, fields in rows:
        line = _line(path, number, fields, dates, findings)
        if line is not None:
            lines.append(line)
    if not lines:
        raise InputError(f"{path} has a header and no lines.", "Export the file again.")
    findings.extend(_about_invoices(lines))
    findings.sort(key=lambda finding: finding.line)
    return SalesFile(tuple(lines), tuple(findings))


def _line(
    path: Path, number: int, fields: list[str], dates: dict[str, datetime], findings: list[Finding]
) -> SalesLine | None:
    invoice, code, title, quantity_text, date_text, price_text, customer = fields

    def broken(what: str, next_step: str) -> InputError:
        return InputError(f"{path}, line {number}: {what}", f"{next_step} Nothing was sent.")

    def found(kind: str, what: str) -> None:
        findings.append(Finding(number, kind, invoice, what))

    if not _INVOICE.fullmatch(invoice):
        raise broken(
            f"{invoice[:40]!r} is no invoice number.", "Expected digits, after a C for a cancellation."
        )
    sku = " ".join(code.split()).upper()
    if not sku or len(sku) > CODE_CHARS_MAX or not sku.isprintable():
        raise broken(f"{code[:40]!r} is no stock code.", f"Expected 1 to {CODE_CHARS_MAX} characters.")
    if len(title) > TEXT_CHARS_MAX or not title.isprintable():
        raise broken("the description is too long or has control characters.", "Shorten or clean it.")
    if not _QUANTITY.fullmatch(quantity_text):
        raise broken(f"the quantity {quantity_text[:40]!r} is no whole number.", "Expected e.g. 6 or -1.")
    quantity = int(quantity_text)
    if abs(quantity) > QUANTITY_MAX:
        raise broken(
            f"the quantity {quantity} is beyond {QUANTITY_MAX:,}.", "Correct it or take the line out."
        )
    at = _time(date_text)
    if at is None:
        raise broken(f"{date_text[:40]!r} is no date and time.", "Expected e.g. 2010-12-01 08:26:00.")
    price = _PRICE.fullmatch(price_text)
    if price is None:
        raise broken(
            f"the price {price_text[:40]!r} is no amount.", "Expected pounds with a point, e.g. 2.55."
        )
    if not _CUSTOMER.fullmatch(customer):
        raise broken(f"{customer[:40]!r} is no customer number.", "Expected letters and digits, or nothing.")
    pence = pence_of(price)
    cancels = invoice[0] in "Cc"
    if cancels and quantity > 0:
        raise broken(f"cancellation {invoice} has a positive quantity.", "Cancelled quantities are negative.")

    if code != sku:
        found("code_spelling", f"stock code {code!r} taken as {sku!r}")
    if not title.strip():
        found("missing_title", f"no description for {sku}")
    elif title != title.strip():
        found("padded_title", f"spaces around {title.strip()!r} trimmed")
    if price[3] and price[3].rstrip("0")[2:]:
        found("part_of_a_penny", f"{price_text} taken as {pence / 100:.2f}")
    first_date = dates.setdefault(invoice, at)
    if at != first_date:
        found(
            "two_dates",
            f"{at:%Y-%m-%d %H:%M:%S}, but the invoice began at {first_date:%Y-%m-%d %H:%M:%S}, which counts",
        )
    if quantity == 0:
        found("zero_quantity", f"quantity 0 of {sku}; nothing to do")
        return None
    if (invoice[0].isalpha() and not cancels) or pence < 0:
        found("bookkeeping", f"{quantity} × {price_text} of {sku} ({title.strip()}) is no trade; not sent")
        return None
    if not track_stock(sku):
        found("no_stock", f"{sku} ({title.strip()}) has no stock")
    return SalesLine(number, invoice.upper(), sku, title.strip(), quantity, first_date, pence, customer)


def _time(text: str) -> datetime | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None


def pence_of(price: re.Match[str]) -> int:
    """Minor units of a matched price, rounded half up at the third digit; whole numbers only, never a float."""
    digits = ((price[3] or "") + "000")[:3]
    tenths = int(price[2]) * 1000 + int(digits)
    return (tenths + 5) // 10 * (-1 if price[1] else 1)


# --- invoices -----------------------------------------------------------------------------------------------------


def invoices_of(lines: Iterable[SalesLine]) -> dict[str, list[SalesLine]]:
    """Lines by invoice, invoices in the order in which they begin."""
    grouped: dict[str, list[SalesLine]] = {}
    for line in lines:
        grouped.setdefault(line.invoice, []).append(line)
    return grouped


def is_cancellation(invoice: str) -> bool:
    """Whether an invoice number marks a cancellation."""
    return invoice.startswith("C")


def is_stock_correction(lines: list[SalesLine]) -> bool:
    """An invoice where nothing costs anything and nobody buys is no sale: the shop's people booked broken, lost or found
    goods that way. Lines with a negative quantity are goods gone, positive ones are goods found."""
    return not is_cancellation(lines[0].invoice) and all(
        line.price == 0 and not line.customer for line in lines
    )


def _about_invoices(lines: list[SalesLine]) -> Iterator[Finding]:
    for invoice, members in invoices_of(lines).items():
        first = members[0]
        if is_stock_correction(members):
            for line in members:
                reason = f" ({line.title})" if line.title else ""
                yield Finding(
                    line.number,
                    "stock_correction",
                    invoice,
                    f"{line.quantity:+d} of {line.sku}{reason}: stock corrected",
                )
            continue
        if not first.customer:
            yield Finding(
                first.number, "missing_customer", invoice, "no customer; sent for guest@history.invalid"
            )
        prices: defaultdict[tuple[str, bool], set[int]] = defaultdict(set)
        for line in members:
            if line.price == 0:
                yield Finding(line.number, "free_line", invoice, f"{line.quantity} of {line.sku} for nothing")
            if line.quantity < 0 and not is_cancellation(invoice):
                yield Finding(
                    line.number,
                    "negative_sale",
                    invoice,
                    f"{line.quantity} of {line.sku}: treated as returned",
                )
            seen = prices[line.sku, line.quantity > 0]
            if line.price in seen:
                yield Finding(
                    line.number, "repeated_sku", invoice, f"{line.sku} again at the same price; added up"
                )
            elif seen:
                yield Finding(
                    line.number,
                    "two_prices",
                    invoice,
                    f"{line.sku} again at {line.price / 100:.2f}; kept apart",
                )
            seen.add(line.price)


def summary_of(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings of each kind, in the order of KINDS."""
    counts = Counter(finding.kind for finding in findings)
    return {kind: counts[kind] for kind in [*KINDS, *sorted(counts.keys() - KINDS.keys())] if counts[kind]}
