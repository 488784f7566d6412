"""Sends a plan to the shop: in the file's order, several documents at a time, each exactly once.

Documents start in the order of the file. Only one thing must wait for another: a refund for its sale, until that is paid.
Everything else may overlap, because the goods receipts came first. All keys come from the invoice numbers, so a replay
that was interrupted is simply run again: what the shop has, it answers as it did the first time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from everopen.base.errors import EveropenError, InputError
from everopen.cli.catalogue_file import Product
from everopen.cli.import_catalog import BATCH, batch_key
from everopen.cli.replay_client import Refused, ShopClient
from everopen.cli.replay_plan import Correction, Plan, Refund, Sale, Step, body_of, key_of

PAYMENT_S_MAX = 120.0


class Done(msgspec.Struct, frozen=True):
    """A step and the shop's answer to it."""

    step: Step
    answer: dict[str, Any]
    replayed: bool


class Failed(msgspec.Struct, frozen=True):
    """A step that the shop refused, and its sentence."""

    step: Step
    sentence: str


class Outcome(msgspec.Struct):
    """Everything that came back."""

    done: list[Done]
    failed: list[Failed]
    products_added: int = 0
    receipts_replayed: bool = False
    seconds: float = 0.0


async def prepare(client: ShopClient, plan: Plan, products: Sequence[Product]) -> tuple[int, bool]:
    """Adds products that the shop lacks (leaving those it has as they are) and receives the goods. Answers how many
    products were added and whether the goods had been received by an earlier replay."""
    existing = await client.products()
    missing = [entry for entry in products if entry["sku"] not in existing]
    for start in range(0, len(missing), BATCH):
        await client.put_products(missing[start : start + BATCH])
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in plan.receipts.items()]
    replayed = bool(items)
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        body = {"items": batch, "reason": "goods received, so that the replayed history can be sold"}
        _, again = await client.call(
            "POST", "/api/stock/receipts", body, batch_key("online-retail:receipt", batch)
        )
        replayed = replayed and again
    return len(missing), replayed


async def send_steps(
    client: ShopClient,
    steps: Sequence[Step],
    *,
    concurrency: int,
    speed: float | None,
    progress: Callable[[Step], None] = lambda _: None,
) -> tuple[list[Done], list[Failed]]:
    """Sends all steps; `speed` is how many times faster than the history (None: as fast as possible)."""
    begun = time.monotonic()
    slots = asyncio.Semaphore(concurrency)
    sales: dict[str, asyncio.Future[str | None]] = {}
    done: list[Done] = []
    failed: list[Failed] = []
    loop = asyncio.get_running_loop()

    async def one(step: Step) -> None:
        order_id: str | None = None
        try:
            if isinstance(step, Refund):
                order_id = await _paid_order(client, sales.get(step.sale))
                if order_id is None:
                    failed.append(Failed(step, f"its sale {step.sale} is not in the shop as a paid order"))
                    return
            answer, replayed = await client.call("POST", _path(step, order_id), body_of(step), key_of(step))
            done.append(Done(step, answer, replayed))
            if isinstance(step, Sale):
                sales[step.reference].set_result(str(answer["id"]))
        except Refused as refused:
            failed.append(Failed(step, refused.cause))
        finally:
            if isinstance(step, Sale) and not sales[step.reference].done():
                sales[step.reference].set_result(None)
            progress(step)
            slots.release()

    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                if speed is not None:
                    due = begun + (step.at - steps[0].at).total_seconds() / speed
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                await (
                    slots.acquire()
                )  # in order, so a refund never holds the last slot before its sale has one
                if isinstance(step, Sale):
                    sales[step.reference] = loop.create_future()
                group.create_task(one(step))
    except BaseExceptionGroup as several:  # one shop that is away makes many of one error
        found = _first(several)
        if isinstance(found, EveropenError):
            raise found from None
        raise
    return done, failed


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _path(step: Step, order_id: str | None) -> str:
    if isinstance(step, Sale):
        return "/api/orders"
    if isinstance(step, Refund):
        return f"/api/orders/{order_id}/refunds"
    return "/api/stock/corrections" if isinstance(step, Correction) else "/api/credits"


async def _paid_order(client: ShopClient, sale: asyncio.Future[str | None] | None) -> str | None:
    """The sale's order once its payment is through; None when it never will be."""
    order_id = None if sale is None else await sale
    if order_id is None:
        return None
    return order_id if was_paid(await settled(client, order_id)) else None


def was_paid(order: dict[str, Any]) -> bool:
    """Whether an order (as the shop shows it) is a sale. One that was given back entirely is cancelled, and was one."""
    return order["status"] == "paid" or order.get("paid_at") is not None


async def settled(client: ShopClient, order_id: str) -> dict[str, Any]:
    """The order as soon as its payment is decided. Raises InputError when that takes too long."""
    deadline = time.monotonic() + PAYMENT_S_MAX
    pause_s = 0.01
    while True:
        order = await client.order(order_id)
        if order["status"] != "placed":
            return order
        if time.monotonic() > deadline:
            raise InputError(
                f"Order {order_id} is still waiting for its payment after {PAYMENT_S_MAX:.0f} s.",
                "`everopen status` shows whether the payment process runs; then run the replay again.",
            )
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.5)


async def settled_orders(client: ShopClient, ids: Sequence[str], *, concurrency: int) -> list[dict[str, Any]]:
    """All these orders, each as soon as its payment is decided."""
    slots = asyncio.Semaphore(concurrency)

    async def one(order_id: str) -> dict[str, Any]:
        async with slots:
            return await settled(client, order_id)

    return list(await asyncio.gather(*(one(order_id) for order_id in ids)))
