"""The client against a real worker, and against a server that fails in every way that a client must bear."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from everopen.api.shapes import (
    CartLineBody,
    CheckoutBody,
    CustomerBody,
    LineBody,
    OrderBody,
    PaymentBody,
    QuantityBody,
    RefundBody,
    RefundLineBody,
)
from everopen.client import (
    Client,
    Event,
    KeyReused,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    SoldOut,
    Unavailable,
)
from tests.integration.api.conftest import ShopUnderTest
from tests.integration.api.worker_process import OPERATOR_KEY

ANN, PAYMENT = CustomerBody("ann@example.com"), PaymentBody("sandbox", "tok_approve")


@asynccontextmanager
async def client_of(shop: ShopUnderTest, **options: Any) -> AsyncIterator[Client]:
    transport = httpx.AsyncHTTPTransport(uds=str(shop.worker.socket))
    async with Client("http://shop", transport=transport, **options) as client:
        yield client


async def paid(client: Client, order_id: Any) -> str:
    for _ in range(400):
        order = await client.get_order(order_id)
        if order.status != "placed":
            return order.status
        await asyncio.sleep(0.05)
    raise AssertionError("still not paid")


def test_a_guest_buys_and_staff_give_the_money_back(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=10, price=100)

    async def scenario() -> None:
        async with client_of(shop, bearer=OPERATOR_KEY) as staff:
            ann, bob = staff.visitor(), staff.visitor()
            await ann.add_to_cart(CartLineBody(sku, 2))
            await bob.add_to_cart(CartLineBody(sku, 5))
            assert (await ann.get_cart()).units == 2
            assert (await ann.set_cart_line(sku, QuantityBody(3))).units == 3
            order = await ann.checkout(CheckoutBody(ANN, PAYMENT))
            assert (order.total.amount, (await ann.get_cart()).units) == (300, 0)
            assert (await bob.get_cart()).units == 5
            assert await paid(ann, order.id) == "paid"
            with pytest.raises(NotAllowed):
                await ann.refund_order(order.id, RefundBody([RefundLineBody(sku, 1)], "r"))
            refund = await staff.refund_order(order.id, RefundBody([RefundLineBody(sku, 1)], "broken"))
            assert refund.amount.amount == 100
            with pytest.raises(SoldOut) as told:
                await bob.place_order(OrderBody([LineBody(sku, 100)], ANN, PAYMENT))
            assert (told.value.sku, told.value.available) == (sku, 8)
            with pytest.raises(NotFound):
                await bob.get_order("00000000-0000-7000-8000-000000000000")

    asyncio.run(scenario())


def test_one_key_is_one_order(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=10)

    async def scenario() -> None:
        async with client_of(shop) as client:
            body = OrderBody([LineBody(sku, 1)], ANN, PAYMENT)
            orders = await asyncio.gather(*(client.place_order(body, key=f"one-{sku}") for _ in range(5)))
            assert len({order.id for order in orders}) == 1
            with pytest.raises(KeyReused):
                await client.place_order(OrderBody([LineBody(sku, 2)], ANN, PAYMENT), key=f"one-{sku}")

    asyncio.run(scenario())
    assert shop.available(sku) == 9


def test_events_are_followed_while_they_happen(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=10)

    async def scenario() -> None:
        async with client_of(shop, bearer=OPERATOR_KEY) as staff:
            seen: list[Event] = []

            async def watch() -> None:
                async for event in staff.follow(topics="order.placed,order.paid"):
                    seen.append(event)

            watching = asyncio.create_task(watch())
            async with asyncio.timeout(20):
                while not any(event.topic == "order.paid" for event in seen):
                    order = await staff.place_order(OrderBody([LineBody(sku, 1)], ANN, PAYMENT))
                    await asyncio.sleep(0.5)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            assert all(event.id for event in seen)
            async with asyncio.timeout(20):
                async for event in staff.follow_order(order.id, after="evt_0"):
                    if event.topic == "order.paid":
                        break

    asyncio.run(scenario())


def test_a_list_is_read_over_all_its_pages(shop: ShopUnderTest) -> None:
    title = "Paged lamp of the client"
    wanted = {shop.product(stock=0, title=title) for _ in range(7)}

    async def scenario() -> None:
        async with client_of(shop) as client:
            found = [product.sku async for product in client.each_products(limit=3, q=title)]
            assert set(found) == wanted
            assert len(found) == 7

    asyncio.run(scenario())


def test_the_example_in_the_readme_runs(shop: ShopUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text()
    example = re.search(r"```python\n(.*?everopen\.client.*?)```", text, re.DOTALL)
    assert example is not None
    sku = shop.product(stock=10)
    made = Client.__init__

    def here(self: Client, url: str = "", **options: Any) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(shop.worker.socket))
        made(self, "http://shop", **{"transport": transport, **options})

    monkeypatch.setattr(Client, "__init__", here)
    names: dict[str, Any] = {"__name__": "readme"}
    code = example[1].replace("85123A", sku).replace("asyncio.run(main())", "")
    exec(compile(code, "README.md", "exec"), names)
    asyncio.run(names["main"]())
    assert shop.available(sku) == 9


# --- a server that fails


class Flaky:
    """Answers each connection's requests as told, and notes what it was asked."""

    def __init__(self, *acts: Any) -> None:
        self.acts = list(acts)
        self.keys: list[str] = []
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                if length is not None:
                    await reader.readexactly(int(length[1]))
                self.asked.append(head)
                key = re.search(r"idempotency-key: (\S+)", head, re.IGNORECASE)
                self.keys.append(key[1] if key else "")
                act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
                if act == "hang up":
                    return
                if act == "silence":
                    await asyncio.sleep(30)
                writer.write(act)
                await writer.drain()
                if b"event-stream" in act:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def response(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


GOOD = response(200, b'{"lines":[],"units":0,"total":{"amount":0,"currency":"GBP"}}')
LATER = response(503, b'{"type":"/problems/unavailable","detail":"d"}', "Retry-After: 0")
HURRY = response(429, b'{"type":"/problems/rate-limited","detail":"d"}', "Retry-After: 1")


def against(flaky: Flaky, use: Callable[[Client], Awaitable[None]], **options: Any) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(flaky.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", **options) as client:
            await use(client)
        server.close()

    asyncio.run(scenario())


def test_a_write_is_repeated_under_one_key_until_it_is_answered() -> None:
    flaky = Flaky("hang up", LATER, "hang up", GOOD)

    async def use(client: Client) -> None:
        assert (await client.add_to_cart(CartLineBody("a"))).units == 0

    against(flaky, use)
    assert len(flaky.keys) == 4
    assert len(set(flaky.keys)) == 1
    assert flaky.keys[0]


def test_a_hanging_answer_costs_one_try_and_not_the_call() -> None:
    flaky = Flaky("silence", GOOD)

    async def use(client: Client) -> None:
        await client.get_cart()

    against(flaky, use, attempt_s=0.3)
    assert len(flaky.asked) == 2


def test_the_shop_says_when_to_come_again() -> None:
    flaky = Flaky(HURRY, GOOD)

    async def use(client: Client) -> None:
        begun = asyncio.get_running_loop().time()
        await client.get_cart()
        assert 1.0 <= asyncio.get_running_loop().time() - begun < 3.0

    against(flaky, use)


def test_after_the_deadline_the_outcome_is_unknown_and_the_key_is_told() -> None:
    async def use(client: Client) -> None:
        with pytest.raises(OutcomeUnknown) as told:
            await client.add_to_cart(CartLineBody("a"), key="mine", deadline_s=0.5)
        assert told.value.key == "mine"

    against(Flaky("hang up"), use)

    async def later(client: Client) -> None:
        with pytest.raises(Unavailable) as told:
            await client.add_to_cart(CartLineBody("a"), key="mine", deadline_s=0.5)
        assert (told.value.key, told.value.status) == ("mine", 503)

    against(Flaky(LATER), later)


def test_a_refusal_is_not_repeated() -> None:
    flaky = Flaky(response(409, b'{"type":"/problems/sold-out","detail":"d"}'))

    async def use(client: Client) -> None:
        with pytest.raises(SoldOut):
            await client.add_to_cart(CartLineBody("a"))

    against(flaky, use)
    assert len(flaky.asked) == 1


def test_a_follower_goes_on_after_the_last_event_it_saw() -> None:
    def stream(*events: str) -> bytes:
        head = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        return (head + "".join(f"{event}\n\n" for event in events)).encode()

    one, two, three = (f'id: {n}\nevent: t\ndata: {{"n":{n}}}' for n in (1, 2, 3))
    flaky = Flaky(stream(one, two), "hang up", LATER, stream(three))

    async def use(client: Client) -> None:
        found = []
        async for event in client.follow():
            found.append(event)
            if len(found) == 3:
                break
        assert found == [Event(str(n), "t", {"n": n}) for n in (1, 2, 3)]

    against(flaky, use)
    assert ["last-event-id: 2" in asked.lower() for asked in flaky.asked] == [False, True, True, True]
