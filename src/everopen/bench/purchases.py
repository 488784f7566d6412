"""Whole purchases by guests: a product into the cart, checkout, and looking at the order until it is paid.

Each purchase is a visitor of its own (no cookie at first), as the peers' benchmarks have it. A buyer is one keep-alive
connection that purchases one after another; it is as lean as the load clients of drills, because it shares the machine."""

from __future__ import annotations

import asyncio
import time

import msgspec

from everopen.drill.wire import Reply, Target, Wire, Wires

WAIT_S = 10
"""How long a look at the order waits for the end of its payment."""
PAID_S_MAX = 60.0
BUYER = b'{"customer":{"email":"guest@example.com"},"payment":{"provider":"sandbox","token":"tok_approve"}}'


class Tally(msgspec.Struct):
    """What became of the purchases of a run."""

    paid: list[str] = []
    waits_s: list[float] = []
    """Of each paid purchase, from putting into the cart until it was seen paid."""
    sold_out: int = 0
    requests: int = 0
    failures: list[str] = []
    longest_request_s: float = 0.0
    steps_s: list[tuple[float, float, float]] = []
    """Of each paid purchase: putting into the cart, checkout, from then until it was seen paid."""


class Buyer:
    """One connection."""

    def __init__(self, target: Target, name: str, sku: str, tally: Tally) -> None:
        self._target = target
        self._name = name
        self._line = b'{"sku":"%s","quantity":1}' % sku.encode()
        self._tally = tally
        self._wires = Wires(target, most=1)

    async def buy(self, number: int) -> None:
        """One purchase, counted in the tally."""
        tally, begun = self._tally, time.perf_counter()
        key = f"{self._name}-{number}"
        added = await self._ask("POST", "/api/cart/lines", self._line, key=f"{key}-add")
        if added.status != 200:
            self._fail("add to the cart", added)
            return
        added_s = time.perf_counter()
        bought = await self._ask("POST", "/api/checkout", BUYER, key=key, cookie=added.cookie)
        if bought.status == 409 and b"/problems/sold-out" in bought.body:
            tally.sold_out += 1
            return
        if bought.status != 201:
            self._fail("checkout", bought)
            return
        bought_s = time.perf_counter()
        order = msgspec.json.decode(bought.body, type=_Order)
        path = f"/api/orders/{order.id}?wait={WAIT_S}"
        while order.status == "placed":
            looked = await self._ask("GET", path)
            if looked.status != 200:
                self._fail("look at the order", looked)
                return
            order = msgspec.json.decode(looked.body, type=_Order)
            if time.perf_counter() - begun > PAID_S_MAX:
                break
        if order.status != "paid":
            tally.failures.append(f"the order is {order.status}")
            return
        tally.paid.append(order.id)
        tally.waits_s.append(time.perf_counter() - begun)
        tally.steps_s.append((added_s - begun, bought_s - added_s, time.perf_counter() - bought_s))

    def close(self) -> None:
        """Hangs up."""
        self._wires.close()

    def _fail(self, what: str, reply: Reply) -> None:
        self._tally.failures.append(f"{what}: {reply.status} {reply.body[:200].decode('utf-8', 'replace')}")

    async def _ask(
        self, method: str, path: str, body: bytes = b"", *, key: str | None = None, cookie: str = ""
    ) -> Reply:
        wire = self._wires.take() or await self._wires.open()
        if wire is None:
            return Reply(0, b"no connection")
        begun = time.perf_counter()
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def take(_: Wire, reply: Reply) -> None:
            answered.set_result(reply)

        wire.ask(self._target.request(method, path, body, key=key, cookie=cookie), take)
        reply = await answered
        self._wires.give_back(wire)
        self._tally.requests += 1
        self._tally.longest_request_s = max(self._tally.longest_request_s, time.perf_counter() - begun)
        return reply


class _Order(msgspec.Struct):
    id: str
    status: str


async def for_a_while(url: str, sku: str, *, buyers: int, seconds: float, run: str) -> tuple[Tally, float]:
    """Buyers who purchase one after another until the time is over, and how long the last one took to end."""
    target, tally, begun = Target.from_url(url), Tally(), time.perf_counter()

    async def go(index: int) -> None:
        buyer, number = Buyer(target, f"{run}-{index}", sku, tally), 0
        while time.perf_counter() - begun < seconds:
            await buyer.buy(number)
            number += 1
        buyer.close()

    await asyncio.gather(*(go(index) for index in range(buyers)))
    return tally, time.perf_counter() - begun


async def once_each(url: str, sku: str, *, buyers: int, run: str) -> Tally:
    """Buyers who come all at once and want one piece each."""
    target, tally = Target.from_url(url), Tally()

    async def go(index: int) -> None:
        buyer = Buyer(target, f"{run}-{index}", sku, tally)
        await buyer.buy(0)
        buyer.close()

    await asyncio.gather(*(go(index) for index in range(buyers)))
    return tally
