"""`everopen import catalog`: products and prices from a CSV file into the shop.

The whole file is read and checked before the first product is sent, so a broken line changes nothing. The shop is asked
what would change, that is shown, and then only that is sent, each product with the version that it was compared with: what
somebody else changes in between is not overwritten. A second import of the same file changes nothing and says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from everopen.base.ids import uuid7
from everopen.cli import catalogue_file, online_retail
from everopen.cli.catalogue_file import STOCK_MAX, Catalogue, Product, amount_text, called, product
from everopen.cli.online_retail import CURRENCY, HEADER, Finding, SalesLine, track_stock
from everopen.cli.replay_client import ShopClient, find_operator_key, find_url

GENERIC_HEADERS = (
    ("sku", "title", "price"),
    ("sku", "title", "price", "currency"),
    ("sku", "title", "price", "stock"),
    ("sku", "title", "price", "currency", "stock"),
)
BATCH = 1000
SHOWN = 20
TITLE_CHARS_MAX = 300


def catalogue_from(path: Path) -> list[Product]:
    """The products of a file as `PUT /api/products` takes them: sku, title, price (None: sold only at a price that
    staff name), tracks_stock. Raises InputError."""
    return read_catalogue(path).products


def shipped_file() -> Path:
    """The compressed sales month that is shipped with the package (see data/ATTRIBUTION.md)."""
    return Path(__file__).resolve().parent.parent / "data" / "online-retail-2010-12.csv.gz"


def read_catalogue(path: Path) -> Catalogue:
    """Reads a sales file (UCI Online Retail) or a plain catalogue (sku, title and any column of `catalogue_file`); the header
    says which. Raises InputError with the line's number."""
    header, rows = online_retail.read_table(path, [HEADER, *GENERIC_HEADERS], also=catalogue_file.is_header)
    if header == HEADER:
        sales = online_retail.read_sales(path)
        products, findings = products_of(sales.lines)
        return Catalogue(products, {}, sorted([*sales.findings, *findings], key=lambda finding: finding.line))
    return catalogue_file.read(path, header, rows)


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
        products.append(product(sku, title[:TITLE_CHARS_MAX], price, CURRENCY, tracked))
    return products, findings


# --- what differs -------------------------------------------------------------------------------------------------


class Plan(msgspec.Struct, frozen=True):
    """What an import would do. `changed` is what the shop answered: fields with their values before and after, and the
    version that they were compared with."""

    added: list[Product]
    changed: list[Product]
    changes: list[dict[str, Any]]
    unchanged: int
    categories: list[str]
    groups: list[str]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.added or self.changed or self.categories or self.groups)


def batch_key(kind: str, items: Sequence[Any]) -> str:
    """An idempotency key made from the content, so that a repeated batch is recognised."""
    digest = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()
    return f"{kind}:{digest[:32]}"


async def compare(client: ShopClient, products: Sequence[Product]) -> Plan:
    """Asks the shop what these products would change in it; nothing is changed."""
    by_sku = {entry["sku"]: entry for entry in products}
    added: list[Product] = []
    changed: list[Product] = []
    changes: list[dict[str, Any]] = []
    unchanged = 0
    for start in range(0, len(products), BATCH):
        batch = list(products[start : start + BATCH])
        found = (await client.call("POST", "/api/catalogue/difference", {"products": batch}))[0]
        added += [by_sku[sku] for sku in found["added"]]
        changes += found["changed"]
        changed += [{**by_sku[item["sku"]], "version": item["version"]} for item in found["changed"]]
        unchanged += found["unchanged"]
    return Plan(
        added,
        changed,
        changes,
        unchanged,
        await _missing(products, "category", {item["id"] for item in await _categories(client)}),
        await _missing(products, "group", {item["id"] for item in await _groups(client)}),
    )


async def _missing(products: Sequence[Product], name: str, there: set[str]) -> list[str]:
    return sorted({str(entry[name]) for entry in products if entry.get(name)} - there)


async def _categories(client: ShopClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.call("GET", "/api/categories"))[0]["categories"]
    return found


async def _groups(client: ShopClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await client.call("GET", f"/api/groups?limit=200{after}"))[0]
        found += page["groups"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


async def apply(client: ShopClient, plan: Plan, file: str) -> None:
    """Does what the plan says, and nothing else: a product that was changed since the plan was made stays as it is, and the
    import ends there. Categories and groups that the file names and the shop lacks are made, called as their ids."""
    run = uuid7().hex
    for name, ids, path in (("categories", plan.categories, "name"), ("groups", plan.groups, "title")):
        entries = [{"id": item, path: called(item)} for item in ids]
        for start in range(0, len(entries), BATCH):
            batch = {name: entries[start : start + BATCH]}
            await client.call("PUT", f"/api/{name}", batch, f"import:{name}:{run}:{start}")
    for kind, entries in (("added", plan.added), ("changed", plan.changed)):
        for start in range(0, len(entries), BATCH):
            body = {"products": entries[start : start + BATCH], "reason": f"import of {file}"[:500]}
            await client.call("PUT", "/api/products", body, f"import:{kind}:{run}:{start}")


async def send_catalogue(
    client: ShopClient,
    catalogue: Catalogue,
    *,
    file: str = "a catalogue",
    stock_each: int | None,
    dry_run: bool,
    agreed: Callable[[Plan], bool] = lambda _: True,
) -> dict[str, Any]:
    """Shows the plan to `agreed`, sends what differs if the answer is yes, and books opening stock for new products that are counted. Returns the figures."""
    plan = await compare(client, catalogue.products)
    stock = {
        entry["sku"]: catalogue.stock.get(entry["sku"], stock_each or 0)
        for entry in plan.added
        if entry["tracks_stock"]
    }
    receipts = [{"sku": sku, "quantity": quantity} for sku, quantity in stock.items() if quantity > 0]
    apply_it = agreed(plan) and not dry_run
    if apply_it:
        await apply(client, plan, file)
        for start in range(0, len(receipts), BATCH):
            batch = receipts[start : start + BATCH]
            await client.staff(
                "/api/stock/receipts",
                {"items": batch, "reason": "opening stock"},
                batch_key("import:stock", batch),
            )
    return {
        "new": len(plan.added),
        "changed": len(plan.changed),
        "unchanged": plan.unchanged,
        "added": [entry["sku"] for entry in plan.added],
        "changes": plan.changes,
        "categories": plan.categories,
        "groups": plan.groups,
        "stock_received": {"products": len(receipts), "units": sum(item["quantity"] for item in receipts)},
        "dry_run": dry_run,
        "applied": apply_it,
    }


def lines_of(plan: Plan, most: int) -> list[str]:
    """The difference for people, at most so many products of each kind."""
    lines = [f"  + category {name}" for name in plan.categories] + [
        f"  + group {name}" for name in plan.groups
    ]
    for entry in plan.added[:most]:
        lines.append(f"  + {entry['sku']}  {entry['title']}, {said(entry.get('price'))}")
    if len(plan.added) > most:
        lines.append(f"  + … and {len(plan.added) - most:,} more")
    for item in plan.changes[:most]:
        lines.append(f"  ~ {item['sku']}")
        lines += [
            f"      {change['field']}: {said(change['old'])} → {said(change['new'])}"
            for change in item["changes"]
        ]
    if len(plan.changes) > most:
        lines.append(f"  ~ … and {len(plan.changes) - most:,} more")
    return lines


def said(value: Any) -> str:
    """A value for people, short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict) and value.keys() == {"amount", "currency"}:
        return f"{amount_text(value['amount'], value['currency'])} {value['currency']}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"


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
@click.option("--yes", "-y", is_flag=True, help="Don't ask before the difference is applied.")
@click.option(
    "--stock", "stock_each", type=click.IntRange(0, STOCK_MAX), help="Receive so many of each new product."
)
@click.option("--url", help="Where the shop is (default: EVEROPEN_URL, else http://127.0.0.1:8080).")
@click.option(
    "--findings",
    type=click.Path(path_type=Path),
    help="Write every finding, line by line, to this file (JSON lines).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="The difference, figures and findings as one JSON document."
)
def import_catalog_command(
    file: Path,
    dry_run: bool,
    yes: bool,
    stock_each: int | None,
    url: str | None,
    findings: Path | None,
    as_json: bool,
) -> None:
    """Take products and prices from FILE (CSV, or CSV compressed with gzip) into the shop.

    Two kinds of file are known by their header: the sales file "Online Retail" of the UCI repository
    (InvoiceNo,StockCode,…), from which each article gets its most frequent title and price, and a plain catalogue:
    sku,title and any of price, currency, description, published, category, group, tax_category, weight_g, buyer_limit,
    tracks_stock, images, attribute:NAME, stock. A column that is missing is left alone; an empty cell means nothing.

    The whole file is checked first; broken lines are named and nothing is changed. Then the difference is shown (+ added,
    ~ changed, old → new), and in a terminal you are asked before it is applied. A second import of the same file changes
    nothing. Stock is left alone, except that new products receive the column `stock`, or --stock.

    \b
    Examples:
      everopen import catalog products.csv --dry-run
      everopen import catalog products.csv --stock 100 --yes
      everopen import catalog online-retail-2010-12.csv.gz --json | jq .changes
    """
    catalogue = read_catalogue(file)
    if findings is not None:
        findings.write_bytes(b"".join(msgspec.json.encode(finding) + b"\n" for finding in catalogue.findings))

    def agreed(plan: Plan) -> bool:
        if as_json:
            return True
        for line in lines_of(plan, SHOWN):
            click.echo(line)
        if dry_run or yes or plan.empty or not sys.stdin.isatty():
            return True
        return click.confirm("Apply this?", default=False)

    async def work() -> dict[str, Any]:
        async with ShopClient(find_url(url), operator_key=find_operator_key()) as client:
            return await send_catalogue(
                client, catalogue, file=file.name, stock_each=stock_each, dry_run=dry_run, agreed=agreed
            )

    figures = asyncio.run(work())
    if as_json:
        odd = [msgspec.to_builtins(finding) for finding in catalogue.findings]
        click.echo(
            json.dumps({**figures, "products": len(catalogue.products), "findings": odd}, ensure_ascii=False)
        )
        return
    would = "" if figures["applied"] else "would be "
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
