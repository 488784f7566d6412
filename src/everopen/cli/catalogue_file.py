r"""A catalogue as a CSV file: read with every error named by its line, written so that it reads back as it was.

One product per line, whatever its texts hold: line ends, control characters and spaces at the edges are escaped
(`\n \r \t \s \uXXXX`, `\\`), lists are divided by `|` (`\|` inside an entry). Fields that run over line ends, as CSV allows
them, were turned down: one lost quote would then swallow a thousand products and still be a valid file.

A column that the file lacks is left alone in the shop; an empty cell says that there is nothing. Checks beyond the file's
own form (lengths, ids, addresses) are those of the API, by its very types, so that a file that passes here is not refused there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from everopen.api.bodies import explain
from everopen.api.problems import Refusal
from everopen.api.shapes_range import ProductBody
from everopen.base.errors import InputError
from everopen.base.money import EXPONENTS
from everopen.cli.online_retail import CURRENCY, Finding
from everopen.trading.orders import UNIT_PRICE_MAX
from everopen.trading.range import ProductChange

COLUMNS = (
    "sku",
    "title",
    "price",
    "currency",
    "description",
    "published",
    "category",
    "group",
    "tax_category",
    "weight_g",
    "buyer_limit",
    "tracks_stock",
    "images",
)
"""In the order of an export; attributes follow, a column each."""
ATTRIBUTE = "attribute:"
STOCK_MAX = 1_000_000_000
ERRORS_SHOWN = 20
Product = dict[str, Any]

_ODD = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029]|^ +| +$")
_ODD_IN_LIST = re.compile(r"[\\|\x00-\x1f\x7f-\x9f\u2028\u2029]|^ +| +$")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[\\nrts|])")
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", "|": r"\|"}
_MEANT = {"n": "\n", "r": "\r", "t": "\t", "s": " ", "\\": "\\", "|": "|"}
_AMOUNT = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,4}))?")


class Catalogue(msgspec.Struct, frozen=True):
    """What a file holds: products as `PUT /api/products` takes them, opening stock where the file names it, and what was
    odd, line by line."""

    products: list[Product]
    stock: dict[str, int]
    findings: list[Finding]


# --- texts in cells -----------------------------------------------------------------------------------------------


def escaped(text: str, odd: re.Pattern[str] = _ODD) -> str:
    """A text as it stands in a cell."""

    def one(found: re.Match[str]) -> str:
        if found[0].isspace() and found[0].strip(" ") == "":
            return r"\s" * len(found[0])
        return _NAMED.get(found[0]) or f"\\u{ord(found[0]):04x}"

    return odd.sub(one, text)


def meant(cell: str) -> str:
    """The text that a cell stands for. A backslash that escapes nothing is a backslash."""
    return _ESCAPE.sub(
        lambda found: chr(int(found[1][1:], 16)) if found[1][0] == "u" else _MEANT[found[1]],
        cell.strip(" \t"),
    )


def joined(entries: Iterable[str]) -> str:
    """A list as it stands in a cell."""
    return "|".join(escaped(entry, _ODD_IN_LIST) for entry in entries)


def divided(cell: str) -> list[str]:
    """The list that a cell stands for; empty entries are none."""
    parts = re.findall(r"(?:[^\\|]|\\.|\\$)+", cell)
    return [found for part in parts if (found := meant(part))]


def amount_text(amount: int, currency: str) -> str:
    """An amount with the currency's digits: 250 GBP is 2.50."""
    digits = EXPONENTS[currency]
    if digits == 0:
        return str(amount)
    scale = int("1" + "0" * digits)
    return f"{amount // scale}.{amount % scale:0{digits}d}"


def amount_of(text: str, currency: str) -> int | None:
    """Minor units; None for an empty field. Raises ValueError with what is wrong."""
    if not text:
        return None
    digits = EXPONENTS[currency]
    found = _AMOUNT.fullmatch(text)
    if found is None or len(found[2] or "") > digits:
        raise ValueError(
            f"the price {text[:20]!r} is no amount in {currency}: at most {digits} digits after a point, no sign."
        )
    units = int(found[1]) * int("1" + "0" * digits) + int((found[2] or "").ljust(digits, "0") or "0")
    if units > UNIT_PRICE_MAX:
        raise ValueError(f"the price {text[:20]!r} is more than a product may cost.")
    return units


# --- reading ------------------------------------------------------------------------------------------------------


def is_header(header: tuple[str, ...]) -> bool:
    """Whether a file with these columns is a catalogue: sku, title and any of the others, each once."""
    known = {*COLUMNS, "stock"}
    return (
        {"sku", "title"} <= set(header)
        and len(set(header)) == len(header)
        and all(name in known or name.startswith(ATTRIBUTE) for name in header)
    )


def product(sku: str, title: str, price: int | None, currency: str, tracks_stock: bool = True) -> Product:
    """One entry of `PUT /api/products`."""
    amount = None if price is None else {"amount": price, "currency": currency}
    return {"sku": sku, "title": title, "price": amount, "tracks_stock": tracks_stock}


def read(path: Path, header: tuple[str, ...], rows: Iterable[tuple[int, list[str]]]) -> Catalogue:
    """The products of a file. Raises InputError that names every line that is wrong."""
    products: list[Product] = []
    stock: dict[str, int] = {}
    findings: list[Finding] = []
    errors: list[str] = []
    seen: dict[str, int] = {}
    currencies: dict[str, int] = {}
    for number, fields in rows:
        row = dict(zip(header, fields, strict=True))
        sku = meant(row["sku"])
        try:
            if not sku:
                raise ValueError("'' is no SKU.")
            if sku in seen:
                raise ValueError(f"SKU {sku!r} is also on line {seen[sku]}.")
            seen[sku] = number
            entry = _entry(sku, row, currencies, number)
            pieces = row.get("stock", "").strip()
            if pieces:
                if not re.fullmatch(r"[0-9]{1,10}", pieces) or int(pieces) > STOCK_MAX:
                    raise ValueError(f"the stock {pieces[:20]!r} is no whole number from 0 to {STOCK_MAX:,}.")
                stock[sku] = int(pieces)
        except ValueError as problem:
            errors.append(f"{path}, line {number}: {problem}")
            continue
        products.append(entry)
        if "price" in entry and entry["price"] is None:
            findings.append(Finding(number, "no_price", "", f"{sku} has no price: only staff can sell it"))
    if errors:
        more = len(errors) - ERRORS_SHOWN
        shown = errors[:ERRORS_SHOWN] + ([f"… and {more:,} more lines that are wrong."] if more > 0 else [])
        raise InputError("\n".join(shown), "Put the file right and import it again. Nothing was sent.")
    if not products:
        raise InputError(f"{path} has a header and no products.", "Export the file again.")
    return Catalogue(products, stock, findings)


def _entry(sku: str, row: Mapping[str, str], currencies: dict[str, int], number: int) -> Product:
    title = meant(row["title"])
    if not title:
        raise ValueError("the title is empty.")
    entry: Product = {"sku": sku, "title": title, "tracks_stock": True}
    if "price" in row:
        currency = row.get("currency", CURRENCY).strip()
        if currency not in EXPONENTS:
            raise ValueError(f"{currency[:10]!r} is no currency known here.")
        if currencies and currency not in currencies:
            raise ValueError(f"{currency} and {next(iter(currencies))} in one file: a shop has one currency.")
        currencies.setdefault(currency, number)
        amount = amount_of(row["price"].strip(), currency)
        entry["price"] = None if amount is None else {"amount": amount, "currency": currency}
    for name, make in _CELLS.items():
        if name in row:
            entry[name] = make(row[name])
    attributes = {
        name.removeprefix(ATTRIBUTE): values
        for name, cell in sorted(row.items())
        if name.startswith(ATTRIBUTE) and (values := divided(cell))
    }
    if attributes or any(name.startswith(ATTRIBUTE) for name in row):
        entry["attributes"] = attributes
    try:
        msgspec.convert(entry, ProductBody)
    except msgspec.ValidationError as problem:
        refusal: Refusal = explain(str(problem))
        raise ValueError(refusal.detail) from None
    return entry


def _whole(cell: str) -> int | None:
    text = cell.strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ValueError(f"{text[:20]!r} is no whole number.")
    return int(text)


def _truth(cell: str) -> bool:
    found = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
        cell.strip().lower()
    )
    if found is None:
        raise ValueError(f"{cell.strip()[:20]!r} is neither true nor false.")
    return found


def _word(cell: str) -> str | None:
    return cell.strip() or None


_CELLS: dict[str, Callable[[str], Any]] = {
    "description": meant,
    "published": _truth,
    "category": _word,
    "group": _word,
    "tax_category": _word,
    "weight_g": _whole,
    "buyer_limit": _whole,
    "tracks_stock": _truth,
    "images": divided,
}


def change_of(entry: Product) -> ProductChange:
    """An entry as the store takes it."""
    fields = {_COLUMN_OF.get(name, name): value for name, value in entry.items() if name != "price"}
    if "price" in entry:
        fields["unit_price"] = None if entry["price"] is None else entry["price"]["amount"]
    return ProductChange(**fields)


def called(name: str) -> str:
    """What a category or group is called until somebody calls it better."""
    return name.replace("-", " ").capitalize()


_COLUMN_OF = {"category": "category_id", "group": "group_id"}


# --- writing ------------------------------------------------------------------------------------------------------


def write(products: Sequence[Mapping[str, Any]], currency: str) -> str:
    """The file of products as `GET /api/catalogue` answers them."""
    names = sorted({name for entry in products for name in entry["attributes"]})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"{ATTRIBUTE}{name}" for name in names)])
    for entry in products:
        price = entry["price"]
        writer.writerow(
            [
                escaped(entry["sku"]),
                escaped(entry["title"]),
                "" if price is None else amount_text(price["amount"], price["currency"]),
                currency if price is None else price["currency"],
                escaped(entry["description"]),
                "true" if entry["published"] else "false",
                *(
                    _cell(entry[name])
                    for name in ("category", "group", "tax_category", "weight_g", "buyer_limit")
                ),
                "true" if entry["tracks_stock"] else "false",
                joined(entry["images"]),
                *(joined(entry["attributes"].get(name, ())) for name in names),
            ]
        )
    return out.getvalue()


def _cell(value: object) -> str:
    return "" if value is None else str(value)
