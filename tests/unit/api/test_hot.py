"""From an order's body to what trading is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from everopen.api.hot import idempotency_key, needs_operator, order_request
from everopen.api.problems import Refusal
from everopen.api.shapes import OrderBody
from everopen.trading.orders import LineRequest, OrderRequest


def body(**changes: Any) -> OrderBody:
    fields = {
        "lines": [{"sku": "A", "quantity": 1}],
        "customer": {"email": "ann@example.com"},
        "payment": {"provider": "sandbox", "token": "tok_approve"},
    } | changes
    return msgspec.convert(fields, OrderBody)


def asked(**changes: Any) -> OrderRequest:
    return order_request(body(**changes), "k", currency="GBP", lines_max=5)


def price(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "GBP"}


def test_duplicates_are_summed_in_the_order_of_their_first_mention() -> None:
    lines = [{"sku": "B", "quantity": 1}, {"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 3}]
    assert asked(lines=lines).lines == (LineRequest("B", 4), LineRequest("A", 2))


def test_one_sku_at_two_prices_stays_two_lines() -> None:
    lines = [
        {"sku": "A", "quantity": 1, "unit_price": price(100)},
        {"sku": "A", "quantity": 1, "unit_price": price(90)},
        {"sku": "A", "quantity": 2, "unit_price": price(100)},
    ]
    assert asked(lines=lines).lines == (LineRequest("A", 3, 100), LineRequest("A", 1, 90))


def test_a_sum_beyond_the_largest_quantity_is_refused() -> None:
    with pytest.raises(Refusal, match="add up"):
        asked(lines=[{"sku": "A", "quantity": 600_000}, {"sku": "A", "quantity": 600_000}])


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(Refusal, match="at most 5"):
        asked(lines=[{"sku": str(number), "quantity": 1} for number in range(6)])


def test_another_currency_is_refused() -> None:
    with pytest.raises(Refusal, match="must be in GBP"):
        asked(lines=[{"sku": "A", "quantity": 1, "unit_price": {"amount": 1, "currency": "EUR"}}])


def test_an_unknown_provider_is_refused_by_name() -> None:
    with pytest.raises(Refusal, match=r"“bitcoin”.*“sandbox”"):
        asked(payment={"provider": "bitcoin", "token": "t"})


def test_the_fingerprint_is_of_the_meaning() -> None:
    first = asked(lines=[{"sku": "A", "quantity": 3}])
    split = asked(lines=[{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 2}])
    assert first.fingerprint == split.fingerprint
    noon = datetime(2010, 12, 1, 12, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=5)))
    assert asked(placed_at=noon).fingerprint == asked(placed_at=elsewhere).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"lines": [{"sku": "A", "quantity": 2}]},
        {"lines": [{"sku": "B", "quantity": 1}]},
        {"lines": [{"sku": "A", "quantity": 1, "unit_price": price(0)}]},
        {"customer": {"email": "bob@example.com"}},
        {"payment": {"provider": "sandbox", "token": "tok_slow"}},
        {"reference": "536365"},
    ],
)
def test_another_meaning_has_another_fingerprint(change: dict[str, Any]) -> None:
    assert asked(**change).fingerprint != asked().fingerprint


@pytest.mark.parametrize("key", [b"", b"a b", b"x" * 256, b"tab\t", b"\xc3\xa9", b"\x7f"])
def test_a_bad_key_is_refused(key: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        idempotency_key({b"idempotency-key": key})
    assert refused.value.status == 422


def test_a_request_without_a_key_gets_a_fresh_one() -> None:
    assert idempotency_key({}) != idempotency_key({})
    assert idempotency_key({b"idempotency-key": b'"quoted"~!'}) == '"quoted"~!'


def test_prices_and_times_are_for_staff() -> None:
    assert not needs_operator(body())
    assert needs_operator(body(placed_at=datetime(2010, 12, 1, tzinfo=UTC)))
    assert needs_operator(body(lines=[{"sku": "A", "quantity": 1, "unit_price": price(1)}]))
