"""Quotas on virtual time."""

from __future__ import annotations

import pytest

from everopen.api.problems import Refusal
from everopen.api.quotas import CLIENTS_MOST, Quota, Quotas, client_of, kind_of


def test_a_client_may_burst_then_goes_at_the_rate() -> None:
    quotas = Quotas({"carts": Quota(2.0, 10)})
    taken = [quotas.take("carts", "ann", 100.0) for _ in range(11)]
    assert [left.tokens for left in taken if left is not None] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert [left.wait_s for left in taken if left is not None] == [0] * 10 + [1]
    passed = [quotas.take("carts", "ann", 100.0 + tenth / 10) for tenth in range(1, 101)]
    assert (
        sum(1 for left in passed if left is not None and not left.wait_s) == 20
    )  # ten seconds at two a second


def test_one_client_takes_nothing_from_another() -> None:
    quotas = Quotas({"carts": Quota(1.0, 1)})
    quotas.require("carts", "ann", 0.0)
    quotas.require("carts", "bob", 0.0)
    with pytest.raises(Refusal):
        quotas.require("carts", "ann", 0.0)


def test_answers_say_what_is_left_and_when_to_come_again() -> None:
    quotas = Quotas({"carts": Quota(0.5, 2)})
    assert quotas.require("carts", "ann", 0.0) == [
        (b"ratelimit-policy", b'"carts";q=2;w=4'),
        (b"ratelimit", b'"carts";r=1;t=2'),
    ]
    quotas.require("carts", "ann", 0.0)
    with pytest.raises(Refusal) as refused:
        quotas.require("carts", "ann", 0.0)
    assert (refused.value.status, refused.value.name) == (429, "rate-limited")
    assert dict(refused.value.headers)[b"retry-after"] == b"2"
    assert dict(refused.value.headers)[b"ratelimit"] == b'"carts";r=0;t=4'


def test_without_a_quota_everybody_passes() -> None:
    quotas = Quotas({"orders": Quota(0.0, 1)})
    assert not quotas.has("orders")
    assert [quotas.require("orders", "ann", 0.0) for _ in range(5)] == [[]] * 5


def test_the_memory_of_clients_is_bounded() -> None:
    quotas = Quotas({"carts": Quota(1.0, 2)})
    for number in range(CLIENTS_MOST + 10):
        quotas.take("carts", str(number), 0.0)
    assert len(quotas._buckets) == CLIENTS_MOST


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/api/cart", None),
        ("HEAD", "/", None),
        ("POST", "/api/orders", "orders"),
        ("POST", "/buy", "orders"),
        ("POST", "/api/cart/lines", "carts"),
        ("DELETE", "/api/cart", "carts"),
        ("POST", "/checkout", "carts"),
        ("PUT", "/api/products", "writes"),
        ("POST", "/api/orders/1/cancel", "writes"),
    ],
)
def test_what_is_counted_where(method: str, path: str, kind: str | None) -> None:
    assert kind_of(method, path) == kind


def test_a_client_is_an_address_and_of_ipv6_its_network() -> None:
    assert client_of(b"192.0.2.7") == "192.0.2.7"
    assert client_of(b"2001:db8:1:2:3:4:5:6") == client_of(b"2001:db8:1:2:ffff::1") == "2001:db8:1:2::"
    assert client_of(b"nobody:here") == "nobody:here"
