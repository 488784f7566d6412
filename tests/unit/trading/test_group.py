"""A group as arguments, and its answer as outcomes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from everopen.base.ids import uuid7
from everopen.trading.group import Replay, arguments, outcomes
from everopen.trading.orders import (
    CartChanged,
    KeyReused,
    LineRequest,
    NoLines,
    OrderRequest,
    PlacedOrder,
    SoldOut,
    UnknownSku,
    Unpriced,
)


def request(*lines: LineRequest, **facts: Any) -> OrderRequest:
    return OrderRequest(key="k", fingerprint=b"f", lines=lines, email="e", provider="p", token="t", **facts)


def test_facts_that_nobody_has_are_null_as_a_whole() -> None:
    group = [request(LineRequest("a", 1), LineRequest("b", 2)), request(), request(LineRequest("c", 3))]
    built = arguments("GBP", 15.0, [uuid7() for _ in group], group)
    assert built[8:12] == [None] * 4
    assert built[12:] == [[1, 1, 3], [1, 2, 1], ["a", "b", "c"], [1, 2, 3], *[None] * 19]


def test_one_price_makes_all_prices_an_array() -> None:
    group = [request(LineRequest("a", 1)), request(LineRequest("b", 1, 5), reference="r")]
    built = arguments("GBP", 15.0, [uuid7(), uuid7()], group)
    assert built[16] == [None, 5]
    assert built[8] == [None, "r"]


def test_each_code_becomes_its_outcome_and_lines_stay_with_their_orders() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    group = [
        request(LineRequest("a", 2), LineRequest("b", 1)),
        request(LineRequest("x", 1), LineRequest("a", 1), LineRequest("x", 2)),
        request(LineRequest("free", 1)),
        request(LineRequest("a", 9)),
        request(LineRequest("a", 1)),
        request(LineRequest("a", 1)),
        request(LineRequest("a", 1)),
        request(),
    ]
    ids = [uuid7() for _ in group]
    known = uuid7()
    row = {
        "o_now": now,
        "o_codes": [0, 4, 5, 3, 1, 2, 7, 8],
        "o_replay_ids": [None] * 4 + [known, known, None, None],
        "o_totals": [450, 0, 0, 0, 0, 0, 0, 0],
        "o_prices": [100, 250, None, 100, None, None, 100, 100, 100, 100],
        "o_titles": ["A", "B", None, "A", None, "Free", "A", "A", "A", "A"],
        "o_detail_skus": [None, None, None, "a", None, None, None, None],
        "o_detail_available": [None, None, None, 3, None, None, None, None],
        "o_detail_requested": [None, None, None, 9, None, None, None, None],
    }
    placed, unknown, unpriced, sold_out, replay, *rest = outcomes("GBP", ids, group, row)
    assert isinstance(placed, PlacedOrder)
    assert (placed.id, placed.total, placed.placed_at) == (ids[0], 450, now)
    assert [(line.title, line.amount) for line in placed.lines] == [("A", 200), ("B", 250)]
    assert unknown == UnknownSku(("x",))
    assert unpriced == Unpriced(("free",))
    assert sold_out == SoldOut("a", 3, 9)
    assert isinstance(replay, Replay)
    assert replay.order_id == known
    assert rest == [KeyReused(), CartChanged(), NoLines()]
