"""One shop on which many things are broken and mended again; each scene plays on empty books and ends with its evidence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from everopen.base.topology import Topology
from everopen.drill.evidence import (
    Audit,
    Episode,
    Event,
    Evidence,
    probe_keys,
    read_audit,
    read_orders,
    read_stock,
)
from everopen.drill.faults.fault import Promise
from everopen.drill.history import UNCERTAIN
from everopen.drill.history_operations import Operation, Operations
from everopen.drill.shop import ScratchShop
from everopen.drill.wire import Target
from tests.support.mutations.rows import execute

HOOK = Path(__file__).parent / "hook"
SKU, SCARCE = "DRILL-MANY", "DRILL-FEW"
MANY, FEW = 1_000_000, 5
BOOKS = (
    "orders", "order_lines", "payment_intents", "ledger_entries", "outbox", "events", "idempotency", "stock_movements", "refunds",
    "refund_lines", "audit_log", "carts", "cart_lines", "sessions", "order_history", "shipments", "shipment_lines", "returns",
    "return_lines", "documents", "document_series", "limited_sales", "coupon_uses", "reconciliations", "stock_at", "stock_alerts",
)  # fmt: skip
SETTLE_S_MAX = 20.0


class Scene:
    """A scratch shop with the hook for mutations in its processes."""

    def __init__(self, shop: ScratchShop, switch: Path) -> None:
        self.shop = shop
        self._switch = switch
        self._on: tuple[str, ...] = ()
        self._number = 0

    @property
    def target(self) -> Target:
        """Where the shop is."""
        return Target.from_url(self.shop.url)

    def topology(self) -> Topology:
        """The present topology."""
        topology = self.shop.topology()
        assert topology is not None
        return topology

    def mutate(self, *names: str, roles: tuple[str, ...]) -> None:
        """From now on exactly these mutations are on, in processes of these roles (started again for that)."""
        if names == self._on:
            return
        self._on = names
        self._switch.write_text("\n".join(names))
        self.restart(*roles)

    def restart(self, *roles: str) -> None:
        """Kills all processes of some roles and waits until the shop is whole."""
        pids = [pid for role in roles for pid in self.shop.pids(role)]
        for pid in pids:
            self.shop.send(pid, 9)
        self.shop.until_whole(gone=pids)

    def clear(self) -> None:
        """Empties all books, ours and the provider's, and fills the shelves."""
        stock = ", ".join(f"('{sku}', {count})" for sku, count in ((SKU, MANY), (SCARCE, FEW)))
        execute(
            self.shop,
            f"TRUNCATE {', '.join(BOOKS)}",
            "UPDATE event_relay SET last_seq = 0, purged_seq = 0",
            "UPDATE audit_head SET sequence = 0, digest = ''",
            f"UPDATE stock SET on_hand = v.n, reserved = 0 FROM (VALUES {stock}) AS v (sku, n), products p"
            " WHERE p.sku = v.sku AND p.id = stock.sku_id",
            "INSERT INTO stock_movements (sku_id, delta, kind) SELECT sku_id, on_hand, 'receipt' FROM stock",
        )
        books = self.shop.home.payments_books.resolve()
        for path in books.parent.glob(books.name + "*"):
            path.unlink()
        self.restart("payments")

    def prefix(self) -> str:
        """For keys that no other scene used."""
        self._number += 1
        return f"scene-{self._number}"

    def evidence(
        self,
        operations: list[Operation],
        timeline: tuple[Episode, ...] = (),
        epochs: tuple[tuple[float, float], ...] = (),
        events: tuple[Event, ...] | None = None,
    ) -> Evidence:
        """What checkers get, gathered as a drill does. The books were empty before."""
        audit = self._settled()
        orders = {operation.order for operation in operations if operation.outcome == "acknowledged"}
        lost = {o.key for o in operations if o.kind == "order" and o.outcome in UNCERTAIN}
        found = asyncio.run(read_orders(self.target, orders))
        return Evidence(
            operations=Operations(values=sorted(operations, key=lambda operation: operation.ended)),
            timeline=timeline,
            audit=audit,
            audit_before=Audit(True, (), dict.fromkeys(audit.counts, 0)),
            found=found,
            existing_keys=asyncio.run(probe_keys(self.target, lost)),
            opening={SKU: MANY, SCARCE: FEW},
            closing=asyncio.run(read_stock(self.target, (SKU, SCARCE))),
            epochs=epochs,
            events=events,
        )

    def _settled(self) -> Audit:
        deadline = time.monotonic() + SETTLE_S_MAX
        while True:
            audit = read_audit(self.shop.audit())
            counts = audit.counts
            if not (counts["charges_open"] or counts["refunds_open"]) or time.monotonic() > deadline:
                return audit
            time.sleep(0.2)

    def strike(
        self,
        fault: str,
        promise: Promise,
        act: Callable[[], list[int]],
        *,
        heal: Callable[[], None] = lambda: None,
    ) -> Episode:
        """Does something to the shop (and answers whom it killed), heals it, and waits until the shop is whole."""
        start, epoch = time.time(), self.topology().epoch
        killed = act()
        heal()
        healed = time.time()
        new_primary = fault == "kill-primary"
        whole = self.shop.until_whole(after_epoch=epoch if new_primary else None, gone=killed)
        return Episode(fault=fault, start=start, healed=healed, whole=whole, end=time.time(), promise=promise)


@contextmanager
def open_scene() -> Iterator[Scene]:
    """A scratch shop for scenes."""
    settings = {
        "PYTHONPATH": str(HOOK),
        "EVEROPEN_CLUSTER_SHARED_BUFFERS_MB": "64",
        "EVEROPEN_TRADING_PAYER_LEASE_S": "8",
    }
    with ScratchShop(settings) as shop:
        switch = shop.folder / "mutations"
        switch.write_text("")
        shop.environment["DRILL_MUTATIONS"] = str(switch)
        shop.start()
        shop.stock_up((SKU, SCARCE), each=1)
        shop.until_whole()
        yield Scene(shop, switch)
