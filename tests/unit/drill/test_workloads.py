"""Workloads beyond the plain order: courses, visits, returns, real baskets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from everopen.base.clock import Rng
from everopen.base.errors import InputError
from everopen.drill.baskets import arrivals_like, read_baskets
from everopen.drill.errands import RETURN_AFTER_S, Errands, Request
from everopen.drill.history_operations import Operation
from everopen.drill.wire import Reply, Target
from everopen.drill.workload import LoadSettings, parse_mix, parse_steps, stepped_times

TARGET = Target("127.0.0.1", 80)


def errands(mix: str, *, operator_key: str | None = "k", baskets: bool = False) -> Errands:
    settings = LoadSettings(skus=("A", "B", "C"), seconds=1, rate=1, mix=parse_mix(mix))
    some = read_baskets(prefix="D-", most=5) if baskets else []
    return Errands(
        settings,
        TARGET,
        Rng(1),
        prefix="p",
        wall_s=lambda at: at + 1000,
        operator_key=operator_key,
        baskets=some,
    )


def ok(document: object, status: int = 200, cookie: str = "") -> Reply:
    return Reply(status, msgspec.json.encode(document), cookie=cookie)


def placed(order: str, *lines: tuple[str, int]) -> Reply:
    body = {"id": order, "status": "placed", "total": {"amount": 5, "currency": "GBP"},
            "lines": [{"sku": sku, "quantity": n} for sku, n in lines]}  # fmt: skip
    return ok(body, 201)


def test_a_course_changes_the_rate() -> None:
    times = list(stepped_times(parse_steps("0:10,5:100,6:0,8:10"), 10, "fixed", Rng(1)))
    assert sum(at < 5 for at in times) == 49
    assert sum(5 <= at < 6 for at in times) == 99
    assert sum(6 <= at < 8 for at in times) == 0
    assert times == sorted(times)
    assert max(times) < 10


def test_a_visit_keeps_its_cookie_and_remembers_what_it_saw() -> None:
    some = errands("visit")
    request: Request | None = some.begin("visit", 1.0)
    cart: dict[str, int] = {}
    seen: list[Operation] = []
    while request is not None:
        text = request.data.decode()
        assert ("Cookie: s=1" in text) == (
            len(seen) >= 2
        )  # the cookie comes with the first thing in the cart
        if request.kind == "cart_add":
            sku, quantity = request.lines[0]
            cart[sku] = cart.get(sku, 0) + quantity
        elif request.kind == "cart_set":
            cart[request.lines[0][0]] = request.lines[0][1]
        lines = [{"sku": sku, "quantity": n} for sku, n in cart.items()]
        if request.kind == "checkout":
            reply, cart = placed("o1", *cart.items()), {}
        elif request.kind == "read_stock":
            reply = ok({"available": 7})
        else:
            reply = ok({"lines": lines}, cookie="s=1" if request.kind == "cart_add" else "")
        operation, request = some.over(request, request.outcome(reply.status), reply, 2.0)
        seen.append(operation)
    kinds = [operation.kind for operation in seen]
    assert kinds[:5] == ["read_stock", "cart_add", "read_cart", "cart_add", "read_cart"]
    assert seen[0].seen == ((seen[0].lines[0][0], 7),)
    assert {operation.client for operation in seen} == {"p-1"}
    keys = [operation.key for operation in seen if operation.key]
    assert len(keys) == len(set(keys)) == sum(kind not in ("read_stock", "read_cart") for kind in kinds)


def test_a_visitor_whose_request_fails_goes_away() -> None:
    some = errands("visit")
    operation, following = some.over(request := some.begin("visit", 1.0), "unavailable", Reply(503), 2.0)
    assert (operation.outcome, following, request.kind) == ("unavailable", None, "read_stock")


def test_goods_come_back_once_and_only_from_an_order_that_was_acknowledged_a_while_ago() -> None:
    some = errands("return")
    order = some.begin("return", 1.0)
    assert order.kind == "order"  # nothing to return yet
    some.over(order, "acknowledged", placed("o1", *order.lines), 1.5)
    assert some.begin("return", 2.0).kind == "order"
    back = some.begin("return", 1.5 + RETURN_AFTER_S)
    assert (back.kind, back.order, back.lines) == ("restock", "o1", order.lines)
    assert b"Authorization: Bearer k" in back.data
    assert back.outcome(201) == "done"
    assert some.begin("return", 99.0).kind == "order"


def test_a_refusal_for_lack_of_stock_says_what_was_left() -> None:
    some = errands("hot")
    operation, _ = some.over(some.begin("hot", 1.0), "sold_out", ok({"sku": "A", "available": 0}, 409), 2.0)
    assert (operation.seen, operation.sent, operation.ended) == ((("A", 0),), 1001.0, 1002.0)


def test_what_a_workload_needs_is_asked_for() -> None:
    with pytest.raises(InputError, match="operator's key"):
        errands("return", operator_key=None)
    with pytest.raises(InputError, match="no baskets"):
        errands("basket")


def test_real_baskets_come_in_their_order_with_their_own_gaps() -> None:
    baskets = read_baskets(prefix="D-")
    assert len(baskets) > 1000
    assert baskets[0].at == 0
    assert all(
        lines and all(sku.startswith("D-") and n > 0 for sku, n in lines)
        for _, lines in map(msgspec.structs.astuple, baskets)
    )
    times = arrivals_like(baskets, 50, 10.0)
    assert times == sorted(times)
    assert times[-1] < 10
    request = errands("basket", baskets=True).begin("basket", 1.0)
    assert request.lines == read_baskets(prefix="D-", most=1)[0].lines


def test_a_file_without_baskets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("InvoiceNo,StockCode,Quantity,InvoiceDate\nC1,A,-1,2010-12-01 08:26:00\n")
    with pytest.raises(InputError, match="no baskets"):
        read_baskets(tmp_path / "a.csv")
    with pytest.raises(InputError, match="can't be read"):
        read_baskets(tmp_path / "none.csv")
