"""Catalogue files against a real worker: what is exported and imported again changes nothing, and what is shown is applied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from everopen.cli.export_catalog import fetch_catalogue, text_of
from everopen.cli.import_catalog import Plan, lines_of, read_catalogue, send_catalogue
from everopen.cli.replay_client import Refused, ShopClient
from tests.integration.api.conftest import STAFF, ShopUnderTest
from tests.integration.api.worker_process import OPERATOR_KEY


def client(shop: ShopUnderTest) -> ShopClient:
    """A staff client of the worker's socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(shop.worker.socket))
    return ShopClient("http://shop", operator_key=OPERATOR_KEY, transport=transport)


def imported(
    shop: ShopUnderTest,
    path: Path,
    *,
    dry_run: bool = False,
    agreed: Callable[[Plan], bool] = lambda _: True,
    stock: int | None = None,
) -> dict[str, Any]:
    """The figures of an import."""

    async def work() -> dict[str, Any]:
        async with client(shop) as called:
            return await send_catalogue(
                called, read_catalogue(path), file=path.name, stock_each=stock, dry_run=dry_run, agreed=agreed
            )

    return asyncio.run(work())


def exported(shop: ShopUnderTest) -> str:
    """The whole catalogue as a file."""

    async def work() -> str:
        async with client(shop) as called:
            return text_of(await fetch_catalogue(called))

    return asyncio.run(work())


def products(shop: ShopUnderTest, sku: str) -> Any:
    return shop.client.get(f"/api/products/{sku}").json()


def test_what_is_exported_and_imported_again_changes_nothing(shop: ShopUnderTest, tmp_path: Path) -> None:
    shop.staff("PUT", "/api/categories", {"categories": [{"id": "trip", "name": "Round trips"}]})
    shop.staff(
        "PUT",
        "/api/products",
        {
            "products": [
                {
                    "sku": 'trip/1 ü,"x"',
                    "title": " Two\nlines \\ and | a bar ",
                    "price": {"amount": 5, "currency": "GBP"},
                    "description": "a\tb\r\n“c”",
                    "category": "trip",
                    "attributes": {"Größe, außen": ["a|b", "c\\"], "x": ["1"]},
                    "images": ["https://i.example/a|b.jpg?c=d,e"],
                    "published": False,
                    "weight_g": 0,
                    "buyer_limit": 2,
                    "tax_category": "reduced",
                },
                {"sku": "trip-2", "title": "Postage", "price": None, "tracks_stock": False},
            ]
        },
    )
    path = tmp_path / "all.csv"
    path.write_text(exported(shop), encoding="utf-8")
    before = shop.counts()
    figures = imported(shop, path)
    assert (figures["new"], figures["changed"], figures["changes"]) == (0, 0, [])
    assert figures["unchanged"] == before["products"]
    assert shop.counts() == before
    assert exported(shop) == path.read_text(encoding="utf-8")


def test_a_dry_run_shows_what_an_import_then_does(shop: ShopUnderTest, tmp_path: Path) -> None:
    sku = shop.product(title="Old lantern", price=100)
    path = tmp_path / "file.csv"
    path.write_text(
        "sku,title,price,category,group,attribute:colour,stock\n"
        f"{sku},New lantern,2.50,file-lamps,,red|blue,9\n"
        f"{sku}-B,Other,1.00,file-lamps,file-group,red,4\n"
    )
    before = shop.counts()
    shown = imported(shop, path, dry_run=True)
    assert shop.counts() == before
    assert (shown["dry_run"], shown["applied"], shown["new"], shown["changed"]) == (True, False, 1, 1)
    plans: list[Plan] = []
    refused = imported(shop, path, agreed=lambda plan: bool(plans.append(plan)))
    assert (refused["applied"], shop.counts()) == (False, before)
    assert lines_of(plans[0], 20) == [
        "  + category file-lamps",
        "  + group file-group",
        f"  + {sku}-B  Other, 1.00 GBP",
        f"  ~ {sku}",
        '      title: "Old lantern" → "New lantern"',
        "      price: 1.00 GBP → 2.50 GBP",
        '      category: nothing → "file-lamps"',
        '      attributes: {} → {"colour": ["red", "blue"]}',
    ]
    done = imported(shop, path)
    assert {**done, "dry_run": True, "applied": False} == shown
    found = products(shop, sku)
    assert (found["title"], found["price"]["amount"], found["attributes"]) == (
        "New lantern",
        250,
        {"colour": ["red", "blue"]},
    )
    # Stock is for new products only.
    assert (found["available"], products(shop, f"{sku}-B")["available"]) == (100, 4)
    history = shop.client.get(f"/api/products/{sku}/history", headers=STAFF).json()
    assert history["versions"][0]["reason"] == "import of file.csv"
    again = imported(shop, path)
    assert (again["new"], again["changed"], again["unchanged"]) == (0, 0, 2)


def test_an_import_does_not_overwrite_what_changed_after_it_was_shown(
    shop: ShopUnderTest, tmp_path: Path
) -> None:
    sku = shop.product(title="Old", price=100)
    path = tmp_path / "late.csv"
    path.write_text(f"sku,title,price\n{sku},From the file,1.00\n")

    def somebody_is_faster(_: Plan) -> bool:
        shop.staff("PATCH", f"/api/products/{sku}", {"title": "From a person"})
        return True

    with pytest.raises(Refused) as refused:
        imported(shop, path, agreed=somebody_is_faster)
    assert refused.value.status == 409
    assert products(shop, sku)["title"] == "From a person"
