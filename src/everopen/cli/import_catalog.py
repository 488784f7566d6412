"""`everopen import catalog`: products and prices from a CSV file into the shop.

The whole file is read and checked before the first product is sent, so a broken line changes nothing. The shop is asked
what it has, and only what differs is sent, in batches with keys made from their content: a second import of the same
file changes nothing and says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from everopen.base.errors import InputError
from everopen.base.money import EXPONENTS
from everopen.cli import online_retail
from everopen.cli.online_retail import CURRENCY, HEADER, Finding, SalesLine, track_stock
from everopen.cli.replay_client import ShopClient, find_operator_key, find_url

GENERIC_HEADERS = (
    ("sku", "title", "price"),
    ("sku", "title", "price", "currency"),
    ("sku", "title", "price", "stock"),
    ("sku", "title", "price", "currency", "stock"),
)
BATCH = 1000
STOCK_MAX = 1_000_000_000
TITLE_CHARS_MAX = 300

Product = dict[str, Any]


class Catalogue(msgspec.Struct, frozen=True):
    """What a file holds: products as `PUT /api/products` takes them, opening stock where the file names it, and what was
    odd, line by line."""

    products: list[Product]
    stock: dict[str, int]
    findings: list[Finding]


def catalogue_from(path: Path) -> list[Product]:
    """The products of a file as `PUT /api/products` takes them: sku, title, price (None: sold only at a price that
    staff name), tracks_stock. Raises InputError."""
    return read_catalogue(path).products


def shipped_file() -> Path:
    """The compressed sales month that is shipped with the package (see data/ATTRIBUTION.md)."""
    return Path(__file__).resolve().parent.parent / "data" / "online-retail-2010-12.csv.gz"


def read_catalogue(path: Path) -> Catalogue:
    """Reads a sales file (UCI Online Retail) or a plain catalogue (sku,title,price[,currency][,stock]); the header says
    which. Raises InputError with the line's number."""
    header, rows = online_retail.read_table(path, [HEADER, *GENERIC_HEADERS])
    if header == HEADER:
        sales = online_retail.read_sales(path)
        products, findings = products_of(sales.lines)
        return Catalogue(products, {}, sorted([*sales.findings, *findings], key=lambda finding: finding.line))
    return _generic(path, header, list(rows))


# --- a catalogue out of sales -------------------------------------------------------------------------------------


def products_of(lines: Sequence[SalesLine]) -> tuple[list[Product], list[Finding]]:
    """One product per stock code, in order of code.

    title: the most frequent description of its priced sale lines, else of other lines, else "Article CODE"; of equals the
    one seen first. price: the most frequent price above 0 at which it was sold (counted in lines; of equals the one seen
    first). Articles that were never sold at a price, and everything without stock (postage, fees, vouchers), get no
    price: such things are sold only at a price that staff name."""
    by_sku: defaultdict[str, list[SalesLine]] = defaultdict(list)
    for line in lines:
        by_sku[line.sku].append(line)
    products: list[Product] = []
    findings: list[Finding] = []
    for sku, members in sorted(by_sku.items()):
        sold = [line for line in members if line.quantity > 0 and line.price > 0]
        titles = Counter(line.title for line in sold if line.title)
        titles = titles or Counter(line.title for line in members if line.title and line.price > 0)
        titles = titles or Counter(line.title for line in members if line.title and line.quantity > 0)
        prices = Counter(line.price for line in sold)
        title = titles.most_common(1)[0][0] if titles else f"Article {sku}"
        tracked = track_stock(sku)
        price = prices.most_common(1)[0][0] if prices and tracked else None
        first = members[0]
        if not titles:
            findings.append(
                Finding(first.number, "no_title_at_all", first.invoice, f"{sku} is called {title!r}")
            )
        elif len(titles) > 1:
            others = ", ".join(repr(other) for other in titles if other != title)
            findings.append(
                Finding(first.number, "several_titles", first.invoice, f"{sku}: {title!r}, not {others}")
            )
        if price is None:
            why = "was never sold at a price" if tracked else "is no article"
            findings.append(
                Finding(first.number, "no_price", first.invoice, f"{sku} {why}: only staff can sell it")
            )
        elif len(prices) > 1:
            spread = f"{len(prices)} prices from {min(prices) / 100:.2f} to {max(prices) / 100:.2f}"
            findings.append(
                Finding(
                    first.number,
                    "several_prices",
                    first.invoice,
                    f"{sku} had {spread}; {price / 100:.2f} is taken",
                )
            )
        products.append(product(sku, title, price, CURRENCY, tracked))
    return products, findings


def product(sku: str, title: str, price: int | None, currency: str, tracks_stock: bool = True) -> Product:
    """One entry of `PUT /api/products`."""
    amount = None if price is None else {"amount": price, "currency": currency}
    return {"sku": sku, "title": title[:TITLE_CHARS_MAX], "price": amount, "tracks_stock": tracks_stock}


# --- a plain catalogue --------------------------------------------------------------------------------------------

_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,4}))?")


def _generic(path: Path, header: tuple[str, ...], rows: list[tuple[int, list[str]]]) -> Catalogue:
    products: list[Product] = []
    stock: dict[str, int] = {}
    findings: list[Finding] = []
    seen: dict[str, int] = {}
    currencies: dict[str, int] = {}
    for number, fields in rows:
        row = dict(zip(header, fields, strict=True))

        def broken(what: str, next_step: str, number: int = number) -> InputError:
            return InputError(f"{path}, line {number}: {what}", f"{next_step} Nothing was sent.")

        sku, title = row["sku"].strip(), row["title"].strip()
        if not 1 <= len(sku) <= online_retail.CODE_CHARS_MAX or not sku.isprintable():
            raise broken(
                f"{sku[:40]!r} is no SKU.", f"Expected 1 to {online_retail.CODE_CHARS_MAX} characters."
            )
        if sku in seen:
            raise broken(f"SKU {sku!r} is also on line {seen[sku]}.", "Keep one of the two.")
        seen[sku] = number
        if not 1 <= len(title) <= TITLE_CHARS_MAX or not title.isprintable():
            raise broken("the title is empty, too long or has control characters.", "Give it one.")
        currency = row.get("currency", CURRENCY).strip()
        if currency not in EXPONENTS:
            raise broken(f"{currency[:10]!r} is no currency known here.", f"Known: {', '.join(EXPONENTS)}.")
        currencies.setdefault(currency, number)
        if len(currencies) > 1:
            raise broken(f"{currency} and {next(iter(currencies))} in one file.", "A shop has one currency.")
        price = _price(row["price"].strip(), EXPONENTS[currency])
        if price is not None and price < 0:
            digits = EXPONENTS[currency]
            raise broken(
                f"the price {row['price'][:20]!r} is no amount in {currency}.",
                f"At most {digits} digits after a point, no sign.",
            )
        if price is None:
            findings.append(Finding(number, "no_price", "", f"{sku} has no price: only staff can sell it"))
        if row.get("stock", "").strip():
            text = row["stock"].strip()
            if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > STOCK_MAX:
                raise broken(f"the stock {text[:20]!r} is no whole number.", f"Expected 0 to {STOCK_MAX:,}.")
            stock[sku] = int(text)
        products.append(product(sku, title, price, currency))
    if not products:
        raise InputError(f"{path} has a header and no products.", "Export the file again.")
    return Catalogue(products, stock, findings)


def _price(text: str, exponent: int) -> int | None:
    """Minor units; None for an empty field, -1 for what is no amount."""
    if not text:
        return None
    found = _AMOUNT.fullmatch(text)
    if found is None or len(found[2] or "") > exponent:
        return -1
    units = int(found[1]) * int("1" + "0" * exponent)
    return units + int((found[2] or "").ljust(exponent, "0") or "0")


# --- what differs -------------------------------------------------------------------------------------------------


class Difference(msgspec.Struct, frozen=True):
    """What an import would do: products to add, to change, and how many are as they should be."""

    new: list[Product]
    changed: list[Product]
    unchanged: int


def difference(products: Sequence[Product], existing: dict[str, Product]) -> Difference:
    """Compares with what the shop answered on `GET /api/products` (by SKU)."""
    new = [entry for entry in products if entry["sku"] not in existing]
    changed = [
        entry
        for entry in products
        if (there := existing.get(entry["sku"])) is not None
        and (there["title"], there["price"]) != (entry["title"], entry["price"])
    ]
    return Difference(new, changed, len(products) - len(new) - len(changed))


def batch_key(kind: str, items: Sequence[Any]) -> str:
    """An idempotency key made from the content, so that a repeated batch is recognised."""
    digest = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()
    return f"{kind}:{digest[:32]}"


async def send_catalogue(
    client: ShopClient, catalogue: Catalogue, *, stock_each: int | None, dry_run: bool
) -> dict[str, Any]:
    """Sends what differs and books opening stock for new products that are counted. Returns the figures."""
    found = difference(catalogue.products, await client.products())
    stock = {
        entry["sku"]: catalogue.stock.get(entry["sku"], stock_each or 0)
        for entry in found.new
        if entry["tracks_stock"]
    }
    receipts = [{"sku": sku, "quantity": quantity} for sku, quantity in stock.items() if quantity > 0]
    if not dry_run:
        for entries in (found.new, found.changed):
            for start in range(0, len(entries), BATCH):
                await client.put_products(entries[start : start + BATCH])
        for start in range(0, len(receipts), BATCH):
            batch = receipts[start : start + BATCH]
            await client.staff(
                "/api/stock/receipts",
                {"items": batch, "reason": "opening stock"},
                batch_key("import:stock", batch),
            )
    return {
        "new": len(found.new),
        "changed": len(found.changed),
        "unchanged": found.unchanged,
        "stock_received": {"products": len(receipts), "units": sum(item["quantity"] for item in receipts)},
        "dry_run": dry_run,
    }


# --- the command --------------------------------------------------------------------------------------------------


@click.group("import")
def import_group() -> None:
    """Take data into the shop.

    \b
    Examples:
      everopen import catalog products.csv --stock 100
    """


@import_group.command(name="catalog")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check the file and say what would change; change nothing.")
@click.option(
    "--stock", "stock_each", type=click.IntRange(0, STOCK_MAX), help="Receive so many of each new product."
)
@click.option("--url", help="Where the shop is (default: EVEROPEN_URL, else http://127.0.0.1:8080).")
@click.option(
    "--findings",
    type=click.Path(path_type=Path),
    help="Write every finding, line by line, to this file (JSON lines).",
)
@click.option("--json", "as_json", is_flag=True, help="Figures and findings as one JSON document.")
def import_catalog_command(
    file: Path, dry_run: bool, stock_each: int | None, url: str | None, findings: Path | None, as_json: bool
) -> None:
    """Take products and prices from FILE (CSV, or CSV compressed with gzip) into the shop.

    Two kinds of file are known by their header: the sales file "Online Retail" of the UCI repository
    (InvoiceNo,StockCode,…), from which each article gets its most frequent title and price, and a plain catalogue:
    sku,title,price[,currency][,stock].

    The whole file is checked first; a broken line is named and nothing is changed. A second import of the same file
    changes nothing. Stock is left alone, except that new products receive the column `stock`, or --stock.

    \b
    Examples:
      everopen import catalog online-retail-2010-12.csv --dry-run
      everopen import catalog products.csv --stock 100
      everopen import catalog products.csv.gz --json | jq .new
    """
    catalogue = read_catalogue(file)
    if findings is not None:
        findings.write_bytes(b"".join(msgspec.json.encode(finding) + b"\n" for finding in catalogue.findings))

    async def work() -> dict[str, Any]:
        async with ShopClient(find_url(url), operator_key=find_operator_key()) as client:
            return await send_catalogue(client, catalogue, stock_each=stock_each, dry_run=dry_run)

    figures = asyncio.run(work())
    if as_json:
        odd = [msgspec.to_builtins(finding) for finding in catalogue.findings]
        click.echo(
            json.dumps({**figures, "products": len(catalogue.products), "findings": odd}, ensure_ascii=False)
        )
        return
    would = "would be " if dry_run else ""
    click.echo(f"{len(catalogue.products):,} products in {file}.")
    click.echo(
        f"{figures['new']:,} {would}new, {figures['changed']:,} {would}changed, {figures['unchanged']:,} unchanged."
    )
    received = figures["stock_received"]
    if received["units"]:
        click.echo(f"{received['units']:,} units {would}received for {received['products']:,} new products.")
    else:
        click.echo("Stock was left alone: the file names none. `--stock N` gives each new product N units.")
    print_findings(catalogue.findings, findings)


def print_findings(findings: Sequence[Finding], written_to: Path | None) -> None:
    """Counts on the screen; the whole list is in the file."""
    if not findings:
        return
    click.echo("Wrong or unusual in the file (kind, lines):")
    for kind, count in online_retail.summary_of(findings).items():
        click.echo(f"  {kind:<18} {count:>6,}  {online_retail.KINDS.get(kind, MORE_KINDS.get(kind, ''))}")
    where = f"Line by line: {written_to}" if written_to else "`--findings FILE` writes them line by line."
    click.echo(where)


MORE_KINDS = {
    "no_title_at_all": "no line has a description; called by its code",
    "several_titles": "several descriptions; the most frequent one is taken",
    "several_prices": "several prices; the most frequent one is taken",
    "no_price": "no price: can't be bought, only staff can sell it at a price they name",
    "credit_not_in_file": "cancelled goods whose sale is not in the file; becomes a stand-alone credit",
    "credit_other_price": "cancelled at a price that the customer did not pay in the file; becomes a stand-alone credit",
}
