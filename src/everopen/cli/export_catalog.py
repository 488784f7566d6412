"""`everopen export catalog`: all products of the shop as a CSV file that `everopen import catalog` reads back unchanged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from everopen.cli.catalogue_file import write
from everopen.cli.online_retail import CURRENCY
from everopen.cli.replay_client import ShopClient, find_operator_key, find_url


async def fetch_catalogue(client: ShopClient) -> list[dict[str, Any]]:
    """All products as staff keep them, page by page."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await client.call("GET", f"/api/catalogue?limit=200{after}"))[0]
        found += page["products"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


def text_of(products: list[dict[str, Any]]) -> str:
    """The file."""
    currency = next((entry["price"]["currency"] for entry in products if entry["price"]), CURRENCY)
    return write(products, currency)


@click.group("export")
def export_group() -> None:
    """Take data out of the shop.

    \b
    Examples:
      everopen export catalog products.csv
    """


@export_group.command(name="catalog")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--url", help="Where the shop is (default: EVEROPEN_URL, else http://127.0.0.1:8080).")
def export_catalog_command(file: Path, url: str | None) -> None:
    """Write all products, published or not, to FILE (CSV; `-` is the screen). Imported again, it changes nothing.

    \b
    Examples:
      everopen export catalog products.csv
      everopen export catalog - | grep lantern
    """

    async def work() -> list[dict[str, Any]]:
        async with ShopClient(find_url(url), operator_key=find_operator_key()) as client:
            return await fetch_catalogue(client)

    products = asyncio.run(work())
    text = text_of(products)
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    whole = file.with_name(f".{file.name}.part")  # a half-written file never bears the name
    whole.write_text(text, encoding="utf-8")
    whole.replace(file)
    click.echo(f"{len(products):,} products in {file}.")
