"""What is made of a history: quantiles, outages, lost and doubled orders."""

from __future__ import annotations

from array import array
from pathlib import Path

import msgspec
import pytest

from everopen.drill.history import (
    FAILED,
    OUTCOMES,
    UNCERTAIN,
    Acknowledged,
    Outage,
    compare,
    outage_after,
    percentiles_ms,
    rank_of,
    read_ledger,
)


def order(number: int, intended: float = 0.0, answered: float = 0.0, key: str = "") -> Acknowledged:
    return Acknowledged(key or f"key-{number}", f"id-{number}", "A", 1, 500, intended, answered, 1, False)


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0), (0.505, 51.0)]
)
def test_quantiles_are_the_nearest_rank(share: float, value: float) -> None:
    assert rank_of([float(number) for number in range(1, 101)], share) == value


def test_percentiles_of_nothing_are_nothing() -> None:
    assert percentiles_ms(array("d")) == {}
    assert percentiles_ms(array("d", [0.002]))["p99"] == 2.0


def test_an_outage_is_the_longest_wait_and_the_first_order_taken_after_the_fault() -> None:
    before = [order(n, n * 0.01, n * 0.01 + 0.002) for n in range(100)]  # until 0.99
    stuck = [order(100 + n, 1.0 + n * 0.01, 1.35) for n in range(30)]  # the fault strikes at 1.0
    after = [order(200 + n, 1.36 + n * 0.01, 1.362 + n * 0.01) for n in range(50)]
    next_one = [order(300, 1.84, 2.9)]  # answered after the next fault, and stuck because of it
    under_way = [order(301, 0.999, 1.001)]  # due before the fault: shows nothing about writing after it
    felt = outage_after(before + stuck + after + next_one + under_way, 1.0, 1.85)
    assert felt.longest_wait_s == pytest.approx(0.35)
    assert felt.first_write_s == pytest.approx(0.35)
    assert outage_after([], 1.0, 2.0) == Outage(0.0, 0.0)


def test_every_order_found_as_acknowledged_is_fine() -> None:
    found = {"id-1": (1, 500), "id-2": (1, 500)}
    check = compare([order(1), order(2)], found, orders_added=2, uncertain=0)
    assert (check.acknowledged, check.lost, check.wrong, check.doubled) == (2, [], [], 0)


def test_a_missing_a_changed_and_a_doubled_order_are_found() -> None:
    check = compare(
        [order(1), order(2), order(3)],
        {"id-1": None, "id-2": (1, 499), "id-3": (1, 500)},
        orders_added=5,
        uncertain=1,
    )
    assert (check.lost, check.wrong, check.doubled) == (["id-1"], ["id-2"], 1)


def test_one_order_for_two_keys_and_two_orders_for_one_key_are_found() -> None:
    same_id = [order(1), order(1, key="other")]
    assert len(compare(same_id, {"id-1": (1, 500)}, orders_added=1, uncertain=0).lost) == 1
    same_key = [order(1, key="k"), order(2, key="k")]
    assert compare(same_key, {"id-1": (1, 500), "id-2": (1, 500)}, orders_added=2, uncertain=0).wrong == [
        "id-2"
    ]


def test_a_torn_last_line_of_a_ledger_is_passed_over(tmp_path: Path) -> None:
    whole = msgspec.json.encode(order(1)) + b"\n"
    (tmp_path / "l").write_bytes(whole + whole[:20])
    assert list(read_ledger(tmp_path / "l")) == [order(1)]


def test_every_class_of_failure_is_named() -> None:
    assert set(UNCERTAIN) <= set(FAILED) <= OUTCOMES.keys()
