"""From what clients did to operations on stock registers.

Registers are judged one SKU at a time: linearizability is local (M. Herlihy, J. Wing, 1990), so all are linearizable
together when each is. One history spans all epochs. Cutting it at each change of primary was turned down: what is under way
just then would have to count on both sides, and a unit sold twice by a failover is the very thing to find.
"""

from __future__ import annotations

from everopen.drill.evidence import Evidence
from everopen.drill.history_operations import Operation
from everopen.drill.linear import NEVER, Op

ORDERS = ("order", "checkout")
GIVEN_UP = ("declined", "cancelled")


def registers(evidence: Evidence) -> dict[str, list[Op]]:
    """The operations on each SKU's register."""
    first_sent: dict[str, float] = {}
    """Of each key, which a client may have tried in several operations: when the first began."""
    acknowledged: set[str] = set()
    for operation in evidence.operations:
        if operation.kind in ORDERS:
            key = _key(operation)
            first_sent[key] = min(operation.sent, first_sent.get(key, operation.sent))
            if operation.outcome == "acknowledged":
                acknowledged.add(key)
    found: dict[str, list[Op]] = {}
    taken: set[str] = set()
    for operation in evidence.operations:
        if operation.outcome == "unsent":
            continue
        label = operation.key or operation.client
        if operation.kind in ORDERS:
            key = _key(operation)
            if operation.outcome == "sold_out":
                asked = dict(operation.lines)
                for sku, left in operation.seen:
                    refused = Op(
                        kind="refused", n=asked.get(sku, left + 1), left=left,
                        begin=operation.sent, end=operation.ended, label=label,
                    )  # fmt: skip
                    found.setdefault(sku, []).append(refused)
            if key in taken:
                continue  # answered before under this key: one order
            if operation.outcome == "acknowledged":
                taken.add(key)
                _take(evidence, found, operation, first_sent[key], operation.ended, True)
            elif key not in acknowledged:
                exists = evidence.existing_keys.get(operation.key, None if not operation.answered else False)
                if exists is not False:
                    taken.add(key)
                    _take(evidence, found, operation, first_sent[key], NEVER, bool(exists))
        elif operation.kind == "read_stock" and operation.good:
            for sku, value in operation.seen:
                read = Op(kind="read", n=value, begin=operation.sent, end=operation.ended, label=label)
                found.setdefault(sku, []).append(read)
        elif operation.kind == "restock" and (operation.good or not operation.answered):
            for sku, quantity in operation.seen or operation.lines:
                moved = Op(
                    kind="give" if quantity >= 0 else "take", n=abs(quantity), begin=operation.sent,
                    end=operation.ended if operation.answered else NEVER, certain=operation.answered, label=label,
                )  # fmt: skip
                found.setdefault(sku, []).append(moved)
    return found


def _key(operation: Operation) -> str:
    return operation.key or f"{operation.client} at {operation.sent}"


def _take(
    evidence: Evidence,
    found: dict[str, list[Op]],
    operation: Operation,
    begin: float,
    end: float,
    certain: bool,
) -> None:
    """What an order took, and gave back when it was declined or cancelled (at some time after it began)."""
    label = operation.key or operation.client
    now = evidence.found.get(operation.order) if operation.order else None
    given_up = None if now is None else now.status in GIVEN_UP
    if given_up is None:
        may_give, must_give = operation.token != "tok_approve", False
    else:
        may_give = must_give = given_up
    for sku, quantity in operation.seen or operation.lines:
        took = Op(kind="take", n=quantity, begin=begin, end=end, certain=certain, label=label)
        found.setdefault(sku, []).append(took)
        if may_give:
            back = Op(kind="give", n=quantity, begin=begin, certain=certain and must_give, label=label)
            found[sku].append(back)


def histories(evidence: Evidence) -> dict[str, list[Op]]:
    """The registers with known beginnings, each with its history for the judge.

    What a declined or cancelled payment gave back is settled without waiting for the standby, so a change of primary may
    undo it, and the payer does it again. Sales and reads get no such grace: what a client saw stays, in every epoch."""
    found = registers(evidence)
    for sku in found:
        for op in [op for op in found[sku] if op.kind == "give" and op.end == NEVER]:
            for old, new in evidence.epochs:
                if op.begin < new:
                    undone = Op(kind="take", n=op.n, begin=old, certain=False, label=f"{op.label} undone")
                    again = Op(kind="give", n=op.n, begin=old, certain=False, label=f"{op.label} again")
                    found[sku] += [undone, again]
    return {sku: found[sku] for sku in sorted(found.keys() & evidence.opening.keys())}
