"""The real month of sales against a real shop: imported, replayed, reconciled, replayed again."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everopen.cli.import_catalog import shipped_file
from tests.support.shop import Shop, running_shop


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with running_shop(EVEROPEN_SHOP_CATALOGUE="none") as running:
        yield running


def command(shop: Shop, *arguments: str, status: int = 0) -> dict[str, Any]:
    done: subprocess.CompletedProcess[str] = shop.run(*arguments, "--json", timeout=300)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_catalogue_is_checked_imported_and_found_unchanged(shop: Shop) -> None:
    file = str(shipped_file())
    before = command(shop, "import", "catalog", file, "--dry-run")
    first = command(shop, "import", "catalog", file)
    second = command(shop, "import", "catalog", file)
    assert (before["new"], before["dry_run"]) == (2762, True)
    assert (first["new"], first["changed"], first["unchanged"]) == (2762, 0, 0)
    assert (second["new"], second["changed"], second["unchanged"]) == (0, 0, 2762)
    assert len(first["findings"]) > 10_000


def test_a_broken_line_changes_nothing_and_is_named(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "broken.csv"
    file.write_text("sku,title,price\nNEW-1,Tea,1.00\nNEW-2,Coffee\n")
    done = shop.run("import", "catalog", str(file))
    assert done.returncode == 2
    assert "line 3: 2 fields where the header has 3" in done.stderr
    assert "NEW-1" not in shop.run("import", "catalog", str(file)).stdout


def test_a_plain_catalogue_brings_its_stock_once(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "plain.csv"
    file.write_text("sku,title,price,stock\nTEA-1,Té ☕,1.00,5\nTEA-2,Tea,2.00,\n")
    first = command(shop, "import", "catalog", str(file))
    second = command(shop, "import", "catalog", str(file), "--stock", "9")
    assert first["stock_received"] == {"products": 1, "units": 5}
    assert (second["unchanged"], second["stock_received"]["units"]) == (2, 0)


def test_the_whole_month_reconciles_and_a_second_replay_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "month.csv"
    file.write_bytes(gzip.decompress(shipped_file().read_bytes()))
    part = command(shop, "replay", str(file), "--limit", "100")
    assert part["reconciled"]
    first = command(shop, "replay", str(file), "--findings", str(tmp_path / "findings.jsonl"))
    rows = {row["what"]: row for row in first["rows"]}
    assert first["reconciled"], first["failed"][:5]
    assert first["ledger_note"] == ""
    assert rows["invoices"]["shop"] == 2025
    assert rows["money of sales"] == {
        **{"what": "money of sales", "difference": 0},
        **dict.fromkeys(("file", "shop", "ledger"), 82_374_614),
    }
    assert rows["money that stays"]["ledger"] == 74_895_702
    assert first["replayed"] == sum(part["documents"].values())
    assert len((tmp_path / "findings.jsonl").read_text().splitlines()) == len(first["findings"])
    orders = command(shop, "audit")["counts"]["orders"]
    second = command(shop, "replay", str(file))
    assert second["replayed"] == sum(second["documents"].values()) == sum(first["documents"].values())
    assert second["rows"] == first["rows"]
    after = command(shop, "audit")
    assert (after["ok"], after["counts"]["orders"]) == (True, orders)


def test_a_history_that_the_shop_refuses_does_not_reconcile(shop: Shop, tmp_path: Path) -> None:
    """The same invoice number with other lines: its key was used for another order."""
    text = gzip.decompress(shipped_file().read_bytes()).decode()
    file = tmp_path / "changed.csv"
    file.write_text(text[: text.index("\n536366")].replace(",6,", ",7,", 1) + "\n")
    found = command(shop, "replay", str(file), status=1)
    assert not found["reconciled"]
    assert "already used" in found["failed"][0]["what"]
