"""Carts as their sessions saw them: what a cart must hold at each look. Shared by two checkers."""

from __future__ import annotations

from collections.abc import Iterator

from everopen.drill.evidence import Evidence
from everopen.drill.history_operations import Operation

CHANGES = ("cart_add", "cart_set", "cart_clear", "checkout")


def looks(evidence: Evidence) -> Iterator[tuple[Operation, Operation, dict[str, int], dict[str, int]]]:
    """(the change that was last answered, a look at the cart after it, what it must hold, what it held). A session makes one
    request at a time. While the outcome of a change is not known nothing is demanded, until the next answer shows it."""
    known: dict[str, tuple[Operation, dict[str, int]]] = {}
    for operation in evidence.operations:
        client = operation.client
        if operation.kind == "read_cart" and operation.good:
            if client in known:
                change, wanted = known[client]
                yield change, operation, wanted, dict(operation.seen)
        elif operation.kind in CHANGES:
            if operation.good:
                emptied = operation.kind in ("checkout", "cart_clear")
                known[client] = (operation, {} if emptied else dict(operation.seen))
            elif not operation.answered:
                known.pop(client, None)
