"""A shop that opens with a full catalogue file, exports it and takes it back, by its commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.shop import Shop, running_shop

FILE = """sku,title,price,description,category,group,weight_g,attribute:colour,images,published,stock
LAMP-R,Brass lamp,25.00,Bright,lamps,lamp,900,red,https://i.example/r.jpg,true,7
LAMP-B,Brass lamp,26.50,Bright,lamps,lamp,900,blue|navy,,true,3
OLD,Candle,1.00,,,,,,,false,
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    file = tmp_path_factory.mktemp("catalogue") / "opening.csv"
    file.write_text(FILE)
    with running_shop(EVEROPEN_SHOP_CATALOGUE=str(file), EVEROPEN_SHOP_OPENING_STOCK="0") as running:
        yield running


def test_a_shop_opens_with_all_that_its_catalogue_says(shop: Shop) -> None:
    lamp = httpx.get(f"{shop.url}/api/products/LAMP-B").json()
    assert (lamp["price"]["amount"], lamp["available"], lamp["category"]) == (2650, 3, "lamps")
    assert (lamp["attributes"], lamp["weight_g"]) == ({"colour": ["blue", "navy"]}, 900)
    group = httpx.get(f"{shop.url}/api/groups/lamp").json()
    assert [variant["sku"] for variant in group["variants"]] == ["LAMP-B", "LAMP-R"]
    assert httpx.get(f"{shop.url}/api/products/OLD").status_code == 404


def test_commands_export_show_the_difference_and_apply_it(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    done = shop.run("export", "catalog", str(file))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"3 products in {file}.")
    assert shop.run("export", "catalog", "-").stdout == file.read_text()
    same = shop.run("import", "catalog", str(file), "--json")
    assert json.loads(same.stdout)["unchanged"] == 3, same.stderr
    file.write_text(file.read_text().replace("26.50", "27.50"))
    for arguments, applied in (("--dry-run", False), ("--yes", True)):
        shown = shop.run("import", "catalog", str(file), arguments)
        assert shown.returncode == 0, shown.stderr
        assert "  ~ LAMP-B\n      price: 26.50 GBP → 27.50 GBP\n" in shown.stdout
        price = httpx.get(f"{shop.url}/api/products/LAMP-B").json()["price"]["amount"]
        assert price == (2750 if applied else 2650)
    history = shop.staff("GET", "/api/products/LAMP-B/history", None).json()["versions"]
    assert (history[0]["actor"], history[0]["reason"]) == ("operator", "import of all.csv")


def test_wrong_lines_are_all_named_and_nothing_is_sent(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("sku,title,price\nNEW,New,1.00\nBAD,,1.00\nWORSE,Bad,1.001\n")
    done = shop.run("import", "catalog", str(file), "--yes")
    assert done.returncode == 2
    assert "line 3: the title is empty" in done.stderr
    assert "line 4: the price '1.001'" in done.stderr
    assert httpx.get(f"{shop.url}/api/products/NEW").status_code == 404
