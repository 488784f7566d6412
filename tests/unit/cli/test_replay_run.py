"""Sending a plan: order, barriers, retries under the same key, and what a refusal does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from everopen.base.errors import NotRunning
from everopen.cli.replay_client import Refused, ShopClient
from everopen.cli.replay_plan import Correction, Credit, Line, Plan, Refund, Sale, Step
from everopen.cli.replay_run import Done, Failed, prepare, send_steps, settled_orders

AT = datetime(2010, 12, 1, tzinfo=UTC)
LINES = (Line("A", 2, 100),)


class FakeShop:
    """The API's answers by key, with payments that take a few questions to be through. Only HTTP is imitated here; the
    integration tests replay into a real shop."""

    def __init__(
        self, trouble: Callable[[FakeShop, httpx.Request], httpx.Response | None] = lambda *_: None
    ) -> None:
        self.calls: list[tuple[str, str, str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.questions: dict[str, int] = {}
        self.products: list[dict[str, Any]] = []
        self.status = "paid"
        self._trouble = trouble

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        key = request.headers.get("idempotency-key", "")
        body = json.loads(request.content) if request.content else None
        path = request.url.path
        self.calls.append((request.method, path, key, body))
        if (answer := self._trouble(self, request)) is not None:
            return answer
        if request.method == "GET" and path == "/api/products":
            return httpx.Response(200, json={"products": self.products, "next": None})
        if request.method == "GET":
            order = path.rsplit("/", 1)[1]
            self.questions[order] = self.questions.get(order, 0) + 1
            status = self.status if self.questions[order] > 2 else "placed"
            return httpx.Response(200, json={"id": order, "status": status})
        again = key in self.answers
        answered = self.answers.setdefault(key, {"id": f"o{len(self.answers)}"})
        return httpx.Response(201, json=answered, headers={"idempotency-replayed": "true"} if again else {})

    def client(self, patience_s: float = 5.0) -> ShopClient:
        return ShopClient(
            "http://shop", operator_key="k", patience_s=patience_s, transport=httpx.MockTransport(self)
        )


def send(shop: FakeShop, steps: list[Step], **options: Any) -> tuple[list[Done], list[Failed]]:
    async def work() -> tuple[list[Done], list[Failed]]:
        async with shop.client() as client:
            return await send_steps(client, steps, **{"concurrency": 4, "speed": None, **options})

    return asyncio.run(work())


def posts(shop: FakeShop) -> list[str]:
    return [path for method, path, _, _ in shop.calls if method == "POST"]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_refund_waits_until_its_sale_is_paid(concurrency: int) -> None:
    shop = FakeShop()
    steps: list[Step] = [
        Sale("1", AT, "a@b", LINES),
        Refund("C2", AT, "1", LINES),
        Credit("C3", AT, "a@b", LINES),
    ]
    done, failed = send(shop, steps, concurrency=concurrency)
    assert (len(done), failed) == (3, [])
    assert posts(shop).index("/api/orders") < posts(shop).index("/api/orders/o0/refunds")
    assert shop.questions == {"o0": 3}


def test_a_second_replay_sends_the_same_keys_and_is_answered_as_before() -> None:
    shop = FakeShop()
    steps: list[Step] = [Sale("1", AT, "a@b", LINES), Correction("2", AT, (("A", -1),), "damages")]
    first, _ = send(shop, steps)
    second, _ = send(shop, steps)
    assert [entry.replayed for entry in [*first, *second]] == [False, False, True, True]
    assert {entry.step.reference: entry.answer for entry in first} == {
        entry.step.reference: entry.answer for entry in second
    }


def fails_first(kind: str) -> Callable[[FakeShop, httpx.Request], httpx.Response | None]:
    def trouble(shop: FakeShop, request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST" and len(posts(shop)) <= 2:
            if kind == "503":
                return httpx.Response(503, json={"detail": "no primary"})
            raise httpx.ReadError("connection lost")
        return None

    return trouble


@pytest.mark.parametrize("kind", ["503", "lost"])
def test_after_a_lost_connection_or_a_503_the_same_key_is_sent_again(kind: str) -> None:
    shop = FakeShop(fails_first(kind))
    done, failed = send(shop, [Sale("1", AT, "a@b", LINES)])
    assert (len(done), failed) == (1, [])
    assert [key for method, _, key, _ in shop.calls if method == "POST"] == ["online-retail:sale:1"] * 3


def test_a_refusal_is_kept_and_its_refund_is_not_sent() -> None:
    def refuse(_: FakeShop, request: httpx.Request) -> httpx.Response | None:
        return (
            httpx.Response(409, json={"detail": "A: 2 requested, none is left."})
            if request.url.path == "/api/orders"
            else None
        )

    steps: list[Step] = [
        Sale("1", AT, "a@b", LINES),
        Refund("C2", AT, "1", LINES),
        Credit("C3", AT, "a@b", LINES),
    ]
    done, failed = send(FakeShop(refuse), steps)
    assert [entry.step.reference for entry in done] == ["C3"]
    assert {entry.step.reference: entry.sentence for entry in failed} == {
        "1": "The shop refused POST /api/orders (409): A: 2 requested, none is left.",
        "C2": "its sale 1 is not in the shop as a paid order",
    }


def test_a_declined_sale_has_nothing_to_refund() -> None:
    shop = FakeShop()
    shop.status = "declined"
    _, failed = send(shop, [Sale("1", AT, "a@b", LINES), Refund("C2", AT, "1", LINES)])
    assert [entry.step.reference for entry in failed] == ["C2"]


def test_a_speed_keeps_the_pauses_of_the_history() -> None:
    shop = FakeShop()
    steps: list[Step] = [Credit(str(n), AT + timedelta(seconds=100 * n), "a@b", LINES) for n in range(3)]
    begun = asyncio.run(_timed(shop, steps))
    assert begun >= 0.2


async def _timed(shop: FakeShop, steps: list[Step]) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with shop.client() as client:
        await send_steps(client, steps, concurrency=4, speed=1000)
    return loop.time() - begun


def test_missing_products_are_added_and_goods_received_once() -> None:
    shop = FakeShop()
    shop.products = [{"sku": "A"}]
    plan = Plan((), {"A": 5, "B1": 7}, 0, ())

    async def work() -> list[tuple[int, bool]]:
        async with shop.client() as client:
            return [await prepare(client, plan, [{"sku": "A"}, {"sku": "B1"}]) for _ in range(2)]

    assert asyncio.run(work()) == [(1, False), (1, True)]
    assert [body for method, _, _, body in shop.calls if method == "PUT"] == [
        {"products": [{"sku": "B1"}]}
    ] * 2


def test_a_shop_that_never_answers_is_not_running() -> None:
    async def work() -> None:
        async with FakeShop(lambda *_: httpx.Response(503, json={})).client(0.1) as client:
            await settled_orders(client, ["x"], concurrency=1)

    with pytest.raises(NotRunning, match="gave no answer to GET /api/orders/x"):
        asyncio.run(work())


def test_a_problem_document_becomes_a_sentence() -> None:
    async def work() -> None:
        async with FakeShop(lambda *_: httpx.Response(401, text="<html>no</html>")).client() as client:
            await client.products()

    with pytest.raises(Refused, match=r"refused GET /api/products\?limit=200 \(401\): <html>no</html>"):
        asyncio.run(work())


def test_a_shop_that_goes_away_during_a_replay_ends_it_with_one_sentence() -> None:
    async def work() -> None:
        async with FakeShop(lambda *_: httpx.Response(503, json={})).client(0.1) as client:
            steps: list[Step] = [Credit(str(number), AT, "a@b", LINES) for number in range(9)]
            await send_steps(client, steps, concurrency=4, speed=None)

    with pytest.raises(NotRunning, match="gave no answer to POST /api/credits"):
        asyncio.run(work())
