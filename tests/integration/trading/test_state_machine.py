"""A shop driven at random: carts, orders, payments, refunds, cancellations, parcels and returns by several actors at once, over two workers, a
real PostgreSQL and the real sandbox provider, while connections are cut. After each run the books must be right.

Each step is a handful of acts that run at the same moment. What an act may answer is checked at once (nobody gets goods that
are not there, a key is one order); what must hold over everything is the audit's business, at the end of each run: stock
conserved, ledger zero, captured = orders − refunds, no history that the table of transitions lacks, the provider's books."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from everopen.base.ids import uuid7
from everopen.trading import Trading, refunds, returns, shipments, stock
from everopen.trading.carts import Addition, Carts, merge_carts
from everopen.trading.orders import (
    Cancelled,
    Cart,
    CartChanged,
    KeyReused,
    LineRequest,
    NoLines,
    NotFound,
    OrderRequest,
    PlacedOrder,
    Refunded,
    RefundLine,
    SoldOut,
    StockChanged,
    StockItem,
    TooMuch,
    UnknownSku,
    WrongState,
)
from tests.integration.trading.conftest import SandboxProcess, Shop, problems
from tests.support.postgres import Node

SKUS = ("apple", "pear", "post")
"""Scarce, plenty, and one without stock."""
TOKENS = ("tok_approve", "tok_approve", "tok_approve", "tok_decline", "tok_lost")
FINAL_S_MAX = 30.0

pick, pieces = st.integers(0, 99), st.integers(1, 3)
sku, token = st.sampled_from(SKUS), st.sampled_from(TOKENS)
ACTS = st.one_of(
    st.tuples(st.just("add"), pick, sku, pieces),
    st.tuples(st.just("set"), pick, sku, pieces),
    st.tuples(st.just("remove"), pick, sku),
    st.tuples(st.just("merge"), pick, pick),
    st.tuples(st.just("checkout"), pick, token),
    st.tuples(st.just("checkout"), pick, token),
    st.tuples(st.just("order"), sku, pieces, token),
    st.tuples(st.just("order"), sku, pieces, token),
    st.tuples(st.just("order"), sku, pieces, token),
    st.tuples(st.just("order"), sku, pieces, token),
    st.tuples(st.just("order"), sku, pieces, token),
    st.tuples(st.just("again"), pick),
    st.tuples(st.just("cancel"), pick),
    st.tuples(st.just("refund"), pick, sku, pieces, st.booleans()),
    st.tuples(st.just("refund"), pick, sku, pieces, st.booleans()),
    st.tuples(st.just("ship"), pick, sku, pieces),
    st.tuples(st.just("ship"), pick, sku, pieces),
    st.tuples(st.just("complete"), pick),
    st.tuples(st.just("give_back"), pick, sku, pieces),
    st.tuples(st.just("give_back"), pick, sku, pieces),
    st.tuples(st.just("move_return"), pick, st.sampled_from(("receive", "receive", "withdraw", "refuse"))),
    st.tuples(st.just("inspect"), pick, st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("receive"), sku, pieces),
    st.tuples(st.just("correct"), sku, st.integers(-2, 2)),
    st.tuples(st.just("cut")),
)


class Run:
    """One shop and what its actors know."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.requests: list[OrderRequest] = []
        self.orders: dict[str, PlacedOrder] = {}
        """By key."""
        self.returns: list[returns.Return] = []

    def go(self, work: Awaitable[Any]) -> Any:
        async def of() -> Any:
            return await work

        return self.runner.run(of())

    async def open(self) -> None:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="everopen-pay-", dir="/tmp"))
        sandbox = SandboxProcess(Path(folder))
        sandbox.start()
        self._stack.callback(sandbox.stop)
        self.shop = Shop(await self._node.create_database(), sandbox)
        self.workers: list[Trading] = [
            await self._stack.enter_async_context(self.shop.worker(payer_lease_s=8.0)) for _ in range(2)
        ]
        self.desks = [Carts(worker.primary, "GBP") for worker in self.workers]
        for desk in self.desks:
            self._stack.push_async_callback(desk.close)
        await self.shop.stock(self.workers[0], apple=12, pear=500, post=None)
        self.carts = [uuid7() for _ in range(3)]

    async def close(self) -> None:
        await self._stack.aclose()

    # -- acts: each may meet any other

    async def act(self, number: int, act: tuple[Any, ...]) -> None:
        worker, carts = self.workers[number % 2], self.desks[number % 2]
        name, *given = act
        handler: Callable[..., Awaitable[None]] = getattr(self, f"act_{name}")
        await handler(worker, carts, *given)

    def cart(self, number: int) -> UUID:
        return self.carts[number % len(self.carts)]

    async def act_add(self, _: Trading, carts: Carts, number: int, sku: str, quantity: int) -> None:
        found = await carts.add(Addition(self.cart(number), sku, quantity, self.shop.key(), b"add"))
        assert isinstance(found, Cart)
        assert any(line.sku == sku and line.quantity >= quantity for line in found.lines)

    async def act_set(self, _: Trading, carts: Carts, number: int, sku: str, quantity: int) -> None:
        found = await carts.set_line(self.cart(number), sku, quantity)
        assert isinstance(found, Cart | UnknownSku)

    async def act_remove(self, _: Trading, carts: Carts, number: int, sku: str) -> None:
        found = await carts.remove_line(self.cart(number), sku)
        assert isinstance(found, UnknownSku) or all(line.sku != sku for line in found.lines)

    async def act_merge(self, worker: Trading, _: Carts, source: int, target: int) -> None:
        await worker.primary.run(lambda c: merge_carts(c, self.cart(source), self.cart(target)))

    async def act_checkout(self, worker: Trading, carts: Carts, number: int, token: str) -> None:
        cart = await carts.find(self.cart(number))
        lines = tuple(LineRequest(line.sku, line.quantity) for line in cart.lines)
        facts = {"cart_id": cart.id, "cart_version": cart.version, "lines": lines, "fingerprint": b"cart"}
        outcome = await self._place(worker, self.shop.order(token=token, **facts))
        assert isinstance(outcome, PlacedOrder | SoldOut | CartChanged | NoLines), outcome

    async def act_order(self, worker: Trading, _: Carts, sku: str, quantity: int, token: str) -> None:
        outcome = await self._place(worker, self.shop.order((sku, quantity), token=token))
        assert isinstance(outcome, PlacedOrder | SoldOut), outcome

    async def act_again(self, worker: Trading, _: Carts, number: int) -> None:
        """A request that was sent before comes once more: the same answer, or by now the goods are there."""
        if self.requests:
            await self._place(worker, self.requests[number % len(self.requests)])

    async def _place(self, worker: Trading, request: OrderRequest) -> Any:
        self.requests.append(request)
        outcome = await worker.place(request)
        if isinstance(outcome, PlacedOrder):
            known = self.orders.setdefault(request.key, outcome)
            assert (known.id, known.total, known.lines) == (outcome.id, outcome.total, outcome.lines)
        else:
            assert request.key not in self.orders or isinstance(outcome, KeyReused), (
                "an accepted order was refused"
            )
        return outcome

    async def act_cancel(self, worker: Trading, _: Carts, number: int) -> None:
        order = self._order(number)
        if order is not None:
            outcome = await refunds.cancel(
                worker.primary, order.id, key=self.shop.key(), fingerprint=b"c", reason="changed my mind"
            )
            assert isinstance(outcome, Cancelled | WrongState), outcome

    async def act_refund(
        self, worker: Trading, _: Carts, number: int, sku: str, quantity: int, restock: bool
    ) -> None:
        order = self._order(number)
        if order is not None:
            outcome = await refunds.refund(
                worker.primary, "GBP", order.id, [RefundLine(sku, quantity)],
                key=self.shop.key(), fingerprint=b"r", restock=restock, reason="broken",
            )  # fmt: skip
            assert isinstance(outcome, Refunded | WrongState | TooMuch | UnknownSku | NotFound), outcome

    async def act_ship(self, worker: Trading, _: Carts, number: int, sku: str, quantity: int) -> None:
        order = self._order(number)
        if order is not None:
            outcome = await shipments.ship(
                worker.primary, order.id, [RefundLine(sku, quantity)],
                carrier="Post", tracking="T", key=self.shop.key(), fingerprint=b"s",
            )  # fmt: skip
            assert not isinstance(outcome, KeyReused | NotFound), outcome

    async def act_complete(self, worker: Trading, _: Carts, number: int) -> None:
        order = self._order(number)
        if order is not None:
            outcome = await shipments.complete(
                worker.primary, order.id, key=self.shop.key(), fingerprint=b"d", why="arrived"
            )
            assert isinstance(outcome, shipments.Completed | WrongState), outcome

    async def act_give_back(self, worker: Trading, _: Carts, number: int, sku: str, quantity: int) -> None:
        order = self._order(number)
        if order is not None:
            outcome = await returns.request_return(
                worker.primary, worker.settings, order.id, [RefundLine(sku, quantity)],
                key=self.shop.key(), fingerprint=b"g", reason="too small",
            )  # fmt: skip
            assert not isinstance(outcome, KeyReused | NotFound), outcome
            if isinstance(outcome, returns.Return):
                self.returns.append(outcome)

    async def act_move_return(self, worker: Trading, _: Carts, number: int, event: Any) -> None:
        if self.returns:
            chosen = self.returns[number % len(self.returns)]
            outcome = await returns.move_return(
                worker.primary, chosen.order_id, chosen.rma, event, key=self.shop.key(), fingerprint=b"v"
            )
            assert isinstance(outcome, returns.Return | WrongState), outcome

    async def act_inspect(self, worker: Trading, _: Carts, number: int, good: int, damaged: int) -> None:
        if self.returns:
            chosen = self.returns[number % len(self.returns)]
            found = [returns.Inspected(line.sku, good, damaged) for line in chosen.lines]
            outcome = await returns.inspect_return(
                worker.primary, chosen.order_id, chosen.rma, found, key=self.shop.key(), fingerprint=b"i"
            )
            assert not isinstance(outcome, KeyReused | NotFound | returns.NoReturn), outcome

    def _order(self, number: int) -> PlacedOrder | None:
        found = list(self.orders.values())
        return found[number % len(found)] if found else None

    async def act_receive(self, worker: Trading, _: Carts, sku: str, quantity: int) -> None:
        if sku != "post":
            await self._move(stock.receive_stock, worker, sku, quantity)

    async def act_correct(self, worker: Trading, _: Carts, sku: str, quantity: int) -> None:
        if sku != "post" and quantity:
            await self._move(stock.correct_stock, worker, sku, quantity)

    async def _move(self, move: Any, worker: Trading, sku: str, quantity: int) -> None:
        outcome = await move(
            worker.primary,
            [StockItem(sku, quantity)],
            key=self.shop.key(),
            fingerprint=b"m",
            reason="counted",
        )
        assert isinstance(outcome, StockChanged | SoldOut), outcome

    async def act_cut(self, *_: Any) -> None:
        await self.shop.database.kill_backends()

    # -- the end

    async def settle(self) -> None:
        """Waits until every payment has ended."""
        waiting = "SELECT count(*) FROM payment_intents WHERE status IN ('pending', 'unknown')"
        deadline = time.monotonic() + FINAL_S_MAX
        while (left := await self.shop.value(waiting)) > 0:
            assert time.monotonic() < deadline, f"{left} payments never ended"
            await asyncio.sleep(0.05)

    async def judge(self) -> None:
        await self.settle()
        assert problems(await self.shop.audit(books=True)) == []
        stored = {row["id"] for row in await self.shop.fetch("SELECT id FROM orders")}
        assert stored == {order.id for order in self.orders.values()}, "acknowledged and stored orders differ"
        ends = {row["id"]: row["status"] for row in await self.shop.fetch("SELECT id, status FROM orders")}
        tokens = {request.key: request.token for request in self.requests}
        for key, order in self.orders.items():
            allowed = (
                {"declined", "cancelled"}
                if tokens[key] == "tok_decline"
                else set(ends.values()) - {"placed", "declined"}
            )
            assert order.total == 0 or ends[order.id] in allowed, (tokens[key], ends[order.id])


class Machine(RuleBasedStateMachine):
    """What hypothesis drives."""

    node: Node

    def __init__(self) -> None:
        super().__init__()
        self.run = Run(self.node)

    @initialize(acts=st.lists(ACTS, min_size=12, max_size=24))
    def begin(self, acts: list[tuple[Any, ...]]) -> None:
        """Opens with a crowd."""
        self.run.go(self.run.open())
        self.together(acts[:6])
        self.run.go(self.run.settle())
        self.together(acts[6:])

    @rule(acts=st.lists(ACTS, min_size=6, max_size=12))
    def crowd(self, acts: list[tuple[Any, ...]]) -> None:
        self.together(acts)

    def together(self, acts: list[tuple[Any, ...]]) -> None:
        """All of them at the same moment."""

        async def all_at_once() -> None:
            await asyncio.gather(*(self.run.act(number, act) for number, act in enumerate(acts)))

        self.run.go(all_at_once())

    @rule(number=pick, kept=st.booleans())
    def an_order_goes_all_its_way(self, number: int, kept: bool) -> None:
        """Paid, sent, arrived, and perhaps sent back: at random alone few orders get so far."""

        async def walk() -> None:
            run, worker = self.run, self.run.workers[0]
            await run.settle()
            paid = [row["id"] for row in await run.shop.fetch("SELECT id FROM orders WHERE status = 'paid'")]
            mine = [order for order in run.orders.values() if order.id in paid]
            if not mine:
                return
            order = mine[number % len(mine)]
            lines = [RefundLine(line.sku, line.quantity) for line in order.lines]
            facts = {"carrier": "Post", "tracking": "T", "fingerprint": b"w"}
            await shipments.ship(worker.primary, order.id, lines, key=run.shop.key(), **facts)  # type: ignore[arg-type]
            await run.act_complete(worker, run.desks[0], list(run.orders.values()).index(order))
            if not kept:
                asked = await returns.request_return(
                    worker.primary, worker.settings, order.id, lines,
                    key=run.shop.key(), fingerprint=b"w", reason="too small",
                )  # fmt: skip
                if isinstance(asked, returns.Return):
                    run.returns.append(asked)
                    await run.act_move_return(worker, run.desks[0], len(run.returns) - 1, "receive")
                    await run.act_inspect(worker, run.desks[0], len(run.returns) - 1, 1, 0)

        self.run.go(walk())

    @rule()
    def all_payments_end(self) -> None:
        self.run.go(self.run.settle())

    def teardown(self) -> None:
        try:
            if hasattr(self.run, "shop"):
                self.run.go(self.run.judge())
        finally:
            self.run.go(self.run.close())
            self.run.runner.close()


@pytest.mark.timeout(240)
def test_whatever_actors_do_at_once_the_books_are_right(node: Node) -> None:
    machine = type("MachineOnThisNode", (Machine,), {"node": node})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
