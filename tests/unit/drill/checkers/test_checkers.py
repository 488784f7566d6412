"""Each checker against evidence made by hand: what it must accept and what it must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from everopen.drill.checkers import CHECKERS
from everopen.drill.evidence import Audit, AuditCheck, Episode, Event, Evidence, FoundOrder
from everopen.drill.faults.fault import CRASH, NOT_COVERED, OWN_CONNECTIONS, Promise
from everopen.drill.history_operations import Kind, Operation, Operations
from everopen.trading.audit import CHECKS

AUDIT_NAMES = (*CHECKS, "provider_books_match")
CLEAN = tuple(AuditCheck(name, True) for name in AUDIT_NAMES)


def audit(orders: int = 0, *broken: str) -> Audit:
    checks = tuple(AuditCheck(name, name not in broken, "two rows differ") for name in AUDIT_NAMES)
    return Audit(not broken, checks, {"orders": orders})


def evidence(*operations: Operation, **more: Any) -> Evidence:
    return Evidence(operations=Operations(values=operations), **more)


def op(kind: Kind, at: float, *, wait: float = 0.1, outcome: str = "read", **more: Any) -> Operation:
    return Operation(
        client=more.pop("client", "ann"), kind=kind, sent=at, ended=at + wait, outcome=outcome,
        status=more.pop("status", 200), **more,
    )  # fmt: skip


def order(
    at: float, number: int, *, outcome: str = "acknowledged", quantity: int = 1, **more: Any
) -> Operation:
    good = outcome == "acknowledged"
    return op(
        "order", at, outcome=outcome, status=more.pop("status", 201 if good else 0), key=more.pop("key", f"k{number}"),
        lines=(("A", quantity),), seen=more.pop("seen", (("A", quantity),) if good else ()),
        order=f"o{number}" if good else "", total=500 * quantity if good else None, **more,
    )  # fmt: skip


def there(quantity: int = 1, status: str = "paid") -> FoundOrder:
    return FoundOrder(status, 500 * quantity, (("A", quantity),))


def struck(at: float, promise: Promise, *, whole: float | None = None, end: float = 100.0) -> Episode:
    return Episode(fault="kill", target="worker-1", start=at, whole=whole, end=end, promise=promise)


def cart(kind: Kind, at: float, held: dict[str, int], **more: Any) -> Operation:
    return op(kind, at, seen=tuple(held.items()), **more)


SOLD = (order(1, 1), order(2, 2))
BOTH = {"o1": there(), "o2": there()}
GOOD: dict[str, Evidence] = {
    "acknowledged_once": evidence(*SOLD, found=BOTH, audit=audit(2)),
    "unacknowledged_at_most_once": evidence(
        *SOLD, order(3, 3, outcome="timeout"), order(4, 4, outcome="timeout"),
        existing_keys={"k3": True, "k4": False}, audit_before=audit(7), audit=audit(10),
    ),
    "no_oversell": evidence(*SOLD, opening={"A": 2}, audit=audit(2)),
    "stock_conserved": evidence(
        *SOLD, order(3, 3, outcome="timeout"), op("restock", 4, outcome="done", seen=(("A", 1),)),
        opening={"A": 9}, closing={"A": 7}, audit=audit(3),
    ),
    "ledger_zero": evidence(audit=audit()),
    "provider_books": evidence(audit=audit()),
    "sessions_kept": evidence(cart("cart_add", 1, {"A": 2}), cart("read_cart", 9, {"A": 2}), timeline=(struck(5, CRASH),)),
    "events_announced": evidence(
        *SOLD, audit=audit(2),
        events=(
            Event("1", "order.placed", "o1"), Event("2", "order.placed", "o2"), Event("1", "order.placed", "o1"),
            Event("3", "order.paid", "o1"), Event("3", "order.paid", "o1"),
        ),
    ),
    "own_writes_read": evidence(
        order(1, 1), op("read_order", 2, order="o1", total=500, seen=(("A", 1),)),
        cart("cart_add", 3, {"A": 1}), cart("read_cart", 4, {"A": 1}),
        op("cart_set", 5, outcome="timeout"), cart("read_cart", 6, {"A": 5}),
    ),
    "promised_answers": evidence(
        order(1, 1), order(5, 2, outcome="broken"), order(50, 3),
        timeline=(struck(4.9, OWN_CONNECTIONS, whole=8.0),),
    ),
    "recovered_in_time": evidence(order(1, 1), order(5, 2, wait=0.9), timeline=(struck(5, CRASH, whole=6.0),)),
    "stock_linearizable": evidence(
        *SOLD, op("read_stock", 3, seen=(("A", 0),)), order(4, 3, outcome="sold_out", seen=(("A", 0),)), opening={"A": 2}
    ),
}  # fmt: skip
BAD: dict[str, dict[str, Evidence]] = {
    "acknowledged_once": {
        "lost": evidence(*SOLD, found={"o1": there(), "o2": None}),
        "another quantity": evidence(*SOLD, found={"o1": there(), "o2": FoundOrder("paid", 500, (("A", 3),))}),
        "another total": evidence(*SOLD, found={"o1": there(), "o2": FoundOrder("paid", 1, (("A", 1),))}),
        "two orders for one key": evidence(order(1, 1), order(2, 2, key="k1", replayed=True)),
        "one order for two keys": evidence(order(1, 1), order(2, 1, key="k2")),
        "the audit saw it": evidence(*SOLD, audit=audit(2, "keys_match_orders")),
    },
    "unacknowledged_at_most_once": {
        "one more order than answers": evidence(*SOLD, audit_before=audit(7), audit=audit(10)),
        "twice": evidence(
            order(3, 3, outcome="timeout"), existing_keys={"k3": True}, audit_before=audit(0), audit=audit(2)
        ),
        "refused and placed": evidence(
            order(3, 3, outcome="sold_out"), audit_before=audit(0), audit=audit(1)
        ),
    },
    "no_oversell": {
        "more than there was": evidence(*SOLD, opening={"A": 1}),
        "the audit saw it": evidence(*SOLD, audit=audit(2, "stock_within_bounds")),
    },
    "stock_conserved": {
        "gone": evidence(*SOLD, opening={"A": 9}, closing={"A": 6}),
        "appeared": evidence(*SOLD, order(3, 3, outcome="timeout"), opening={"A": 9}, closing={"A": 8}),
        "the audit saw it": evidence(audit=audit(0, "on_hand_matches_movements")),
    },
    "ledger_zero": {"the audit saw it": evidence(audit=audit(0, "ledger_balances"))},
    "provider_books": {"the audit saw it": evidence(audit=audit(0, "provider_books_match"))},
    "sessions_kept": {
        "the cart is empty": evidence(cart("cart_add", 1, {"A": 2}), cart("read_cart", 9, {})),
        "fewer": evidence(cart("cart_add", 1, {"A": 2}), cart("read_cart", 9, {"A": 1})),
    },
    "events_announced": {
        "never": evidence(order(1, 1), events=()),
        "paid before placed": evidence(
            order(1, 1), events=(Event("1", "order.paid", "o1"), Event("2", "order.placed", "o1"))
        ),
        "announced by two events": evidence(
            order(1, 1), events=(Event("1", "order.placed", "o1"), Event("2", "order.placed", "o1"))
        ),
        "the audit saw it": evidence(audit=audit(0, "orders_are_announced")),
    },
    "own_writes_read": {
        "not found": evidence(order(1, 1), op("read_order", 2, outcome="refused", status=404, order="o1")),
        "another order": evidence(order(1, 1), op("read_order", 2, order="o1", total=9, seen=(("A", 1),))),
        "an older cart": evidence(
            cart("cart_add", 1, {"A": 1}), cart("cart_set", 2, {"A": 5}), cart("read_cart", 3, {"A": 1})
        ),
        "a cart from before the checkout": evidence(
            cart("cart_add", 1, {"A": 1}), op("checkout", 2, outcome="acknowledged", order="o1"), cart("read_cart", 3, {"A": 1})
        ),
    },
    "promised_answers": {
        "under no fault": evidence(order(1, 1, outcome="server_error", status=500)),
        "under a fault that promises all": evidence(order(5, 1, outcome="broken"), timeline=(struck(5, CRASH),)),
        "not a connection's fate": evidence(
            order(5, 1, outcome="server_error", status=502), timeline=(struck(5, OWN_CONNECTIONS),)
        ),
        "after all was well again": evidence(order(9, 1, outcome="timeout"), timeline=(struck(5, NOT_COVERED, whole=6.0),)),
    },
    "recovered_in_time": {
        "never whole": evidence(timeline=(struck(5, CRASH),)),
        "whole too late": evidence(timeline=(struck(5, CRASH, whole=36.0),)),
        "one waited too long": evidence(order(5, 1, wait=1.2), timeline=(struck(5, CRASH, whole=7.0),)),
    },
    "stock_linearizable": {
        "sold beyond the stock": evidence(*SOLD, order(3, 3), opening={"A": 2}),
        "a stale read": evidence(*SOLD, op("read_stock", 3, seen=(("A", 1),)), opening={"A": 2}),
        "refused with goods there": evidence(
            order(1, 1), order(4, 3, outcome="sold_out", seen=(("A", 0),)), opening={"A": 2}
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKERS)
def test_good_evidence_is_accepted_and_judged(name: str) -> None:
    verdict = CHECKERS[name].check(GOOD[name])
    assert verdict.ok, verdict
    assert verdict.looked_at
    assert verdict.name == name == CHECKERS[name].name


@pytest.mark.parametrize(("name", "way"), [(name, way) for name, ways in BAD.items() for way in ways])
def test_bad_evidence_is_refused_with_a_sample(name: str, way: str) -> None:
    verdict = CHECKERS[name].check(BAD[name][way])
    assert not verdict.ok, verdict
    assert verdict.samples


@pytest.mark.parametrize("name", CHECKERS)
def test_every_checker_has_bad_evidence_and_says_when_there_is_nothing_to_judge(name: str) -> None:
    assert BAD[name]
    verdict = CHECKERS[name].check(evidence())
    assert verdict.ok
    assert verdict.looked_at == 0
    assert verdict.detail


def test_every_check_of_the_audit_belongs_to_a_checker_and_none_is_invented() -> None:
    used = {name for checker in CHECKERS.values() for name in checker.AUDIT}  # type: ignore[attr-defined]
    assert used == set(AUDIT_NAMES)


@pytest.mark.parametrize("missing", sorted(AUDIT_NAMES))
def test_a_failed_check_of_the_audit_fails_the_checkers_that_share_it(missing: str) -> None:
    broken = evidence(audit=audit(0, missing), audit_before=audit(0))
    failed = {name for name, checker in CHECKERS.items() if not checker.check(broken).ok}
    assert failed == {name for name, checker in CHECKERS.items() if missing in checker.AUDIT}  # type: ignore[attr-defined]


def test_under_several_faults_the_most_patient_promise_counts() -> None:
    slow = order(5, 1, wait=2.0)
    both = (struck(5, CRASH, whole=8.0), struck(5.5, Promise("none", wait_s_max=3.0), whole=8.0))
    check: Callable[[Evidence], Any] = CHECKERS["recovered_in_time"].check
    assert check(evidence(slow, timeline=both)).ok
    assert not check(evidence(slow, timeline=both[:1])).ok


def test_what_spans_a_change_of_primary_happened_once() -> None:
    spans = order(4, 1, wait=3.0)
    before, after = op("read_stock", 1, seen=(("A", 2),)), op("read_stock", 9, seen=(("A", 1),))
    check = CHECKERS["stock_linearizable"].check
    assert check(evidence(before, spans, after, opening={"A": 2}, epochs=((5.0, 5.5),))).ok
    gone = op("read_stock", 9, seen=(("A", 0),))
    assert not check(evidence(before, spans, gone, opening={"A": 2}, epochs=((5.0, 5.5),))).ok


def test_a_key_that_was_tried_again_later_is_one_order() -> None:
    lost, found = order(1, 1, outcome="timeout"), order(5, 1, replayed=True)
    known = evidence(
        lost, op("read_stock", 3, seen=(("A", 1),)), found, opening={"A": 2}, found={"o1": there()}
    )
    assert {name for name, checker in CHECKERS.items() if not checker.check(known).ok} == {"promised_answers"}


def test_what_a_declined_payment_gave_back_may_be_undone_by_a_failover_but_a_sale_may_not() -> None:
    sold = order(1, 1, token="tok_decline")
    reads = [op("read_stock", at, seen=(("A", n),)) for at, n in ((3, 2), (9, 1), (12, 2))]
    check = CHECKERS["stock_linearizable"].check
    facts = {"opening": {"A": 2}, "found": {"o1": there(status="declined")}}
    assert check(evidence(sold, *reads, epochs=((5.0, 5.5),), **facts)).ok
    assert not check(evidence(sold, *reads, **facts)).ok
    kept = {"opening": {"A": 2}, "found": {"o1": there()}}
    assert not check(evidence(sold, *reads, epochs=((5.0, 5.5),), **kept)).ok
