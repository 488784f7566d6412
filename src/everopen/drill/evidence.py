"""Everything that a checker may look at, gathered once when the drill is over: what the clients saw, what was broken and
when, what the shop shows now over HTTP, and what its own audit says.

Checkers are pure functions of this value, so a drill's evidence can be kept and judged again, and a test can hand a checker
a history that no shop would produce. Nothing here reads the shop's tables: a checker that shares the shop's way of looking
also shares its blindness. What only rows can show comes from the `audit` command, under the audit's own names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from everopen.base.errors import EveropenError
from everopen.drill.faults.fault import Promise
from everopen.drill.history_operations import Operations
from everopen.drill.timeline import Entry
from everopen.drill.wire import Reply, Target, ask_all


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One fault on the drill's time axis, with the promise that the shop makes about it. Unix seconds."""

    fault: str
    target: str = ""
    start: float
    healed: float | None = None
    """When it was taken away; None: it struck once and was over (a kill)."""
    whole: float | None = None
    """Every process runs and a standby confirms again. None: it never was, within the drill's patience."""
    end: float
    """When its time was over: what is felt later is not laid to its charge."""
    promise: Promise

    @classmethod
    def of(cls, entry: Entry, promise: Promise) -> Episode:
        """A timeline's entry with the promise of its fault."""
        return cls(
            fault=entry.fault,
            target=entry.target,
            start=entry.start,
            healed=entry.healed,
            whole=entry.whole,
            end=entry.start if entry.end is None else entry.end,
            promise=promise,
        )

    @property
    def until(self) -> float:
        """Requests due until then may feel it: until the shop is whole again, at the latest until its time is over."""
        return self.end if self.whole is None else min(self.whole, self.end)


class Event(msgspec.Struct, frozen=True):
    """One event as a subscriber got it, in the order of delivery (repeated deliveries included)."""

    id: str
    topic: str
    subject: str
    """The order (or refund) that it is about."""


class AuditCheck(msgspec.Struct, frozen=True):
    """One check of `everopen audit --json`."""

    name: str
    ok: bool
    detail: str = ""


class Audit(msgspec.Struct, frozen=True):
    """`everopen audit --json`."""

    ok: bool
    checks: tuple[AuditCheck, ...] = ()
    counts: dict[str, int] = msgspec.field(default_factory=dict)

    def named(self, name: str) -> AuditCheck | None:
        """The check of that name."""
        return next((check for check in self.checks if check.name == name), None)


class FoundOrder(msgspec.Struct, frozen=True):
    """An order as the shop shows it."""

    status: str
    total: int
    lines: tuple[tuple[str, int], ...]
    """(SKU, quantity), by SKU, summed."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a drill. What was not gathered stays None or empty; a checker then says that it had nothing to look
    at."""

    operations: Operations
    timeline: tuple[Episode, ...] = ()
    """By start."""
    audit: Audit | None = None
    """After the drill, once payments are settled."""
    audit_before: Audit | None = None
    found: Mapping[str, FoundOrder | None] = {}
    """Each acknowledged order's id, read back; None: the shop has no such order."""
    existing_keys: Mapping[str, bool] = {}
    """Each key without a known outcome: whether the shop has an order under it."""
    opening: Mapping[str, int] = {}
    """What was available of each SKU before the first request."""
    closing: Mapping[str, int] = {}
    """What is available now, after payments are settled."""
    alone: bool = True
    """Nobody but the drill's clients ordered meanwhile: then counts must match exactly."""
    epochs: tuple[tuple[float, float], ...] = ()
    """Changes of primary: (last time the old epoch was seen, first time the new one was)."""
    events: tuple[Event, ...] | None = None
    """None: no subscriber listened."""


def read_audit(document: Mapping[str, Any] | str | bytes) -> Audit:
    """The audit's JSON document."""
    if isinstance(document, str | bytes):
        return msgspec.json.decode(document, type=Audit)
    return msgspec.convert(document, Audit)


def by_sku(lines: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Lines in one comparable form: summed, by SKU."""
    found: dict[str, int] = {}
    for sku, quantity in lines:
        found[sku] = found.get(sku, 0) + quantity
    return tuple(sorted(found.items()))


# --- over HTTP ----------------------------------------------------------------------------------------------------


async def read_orders(target: Target, ids: Iterable[str]) -> dict[str, FoundOrder | None]:
    """Asks for every order. Raises EveropenError when the shop can't say."""
    wanted = sorted(set(ids))
    replies = await ask_all(target, [target.request("GET", f"/api/orders/{one}") for one in wanted])
    return {one: _order(one, reply) for one, reply in zip(wanted, replies, strict=True)}


def _order(order_id: str, reply: Reply) -> FoundOrder | None:
    if reply.status == 404:
        return None
    if reply.status != 200:
        raise EveropenError(f"Order {order_id} can't be looked at: the shop answered {reply.status}.")
    order = msgspec.json.decode(reply.body)
    lines = by_sku((line["sku"], line["quantity"]) for line in order["lines"])
    # A paid order that was given back entirely is cancelled; to a drill it is still a sale, and its refund another event.
    given_back = order["status"] == "cancelled" and order.get("paid_at") is not None
    return FoundOrder("paid" if given_back else order["status"], int(order["total"]["amount"]), lines)


NO_SUCH_SKU = "drill: no such product"


async def probe_keys(target: Target, keys: Iterable[str]) -> dict[str, bool]:
    """Whether an order exists under each key, without placing one: the key comes again with an order for a product that
    nobody has. A key that stands for an order is refused as used, a fresh one for the product. Raises EveropenError."""
    wanted = sorted(set(keys))
    body = msgspec.json.encode(
        {
            "lines": [{"sku": NO_SUCH_SKU, "quantity": 1}],
            "customer": {"email": "drill@example.com"},
            "payment": {"provider": "sandbox", "token": "tok_decline"},
        }
    )
    replies = await ask_all(target, [target.request("POST", "/api/orders", body, key=key) for key in wanted])
    found = {}
    for key, reply in zip(wanted, replies, strict=True):
        kind = str(msgspec.json.decode(reply.body).get("type", "")) if reply.status == 422 else ""
        if not kind.endswith(("/key-reused", "/unknown-sku")):
            raise EveropenError(f"Key {key} can't be looked at: the shop answered {reply.status} {kind}.")
        found[key] = kind.endswith("/key-reused")
    return found


async def read_stock(target: Target, skus: Iterable[str]) -> dict[str, int]:
    """What is available of each SKU that keeps stock. Raises EveropenError."""
    wanted = sorted(set(skus))
    replies = await ask_all(target, [target.request("GET", f"/api/products/{sku}") for sku in wanted])
    found = {}
    for sku, reply in zip(wanted, replies, strict=True):
        if reply.status != 200:
            raise EveropenError(f"{sku} can't be looked at: the shop answered {reply.status}.")
        available = msgspec.json.decode(reply.body)["available"]
        if available is not None:
            found[sku] = int(available)
    return found
