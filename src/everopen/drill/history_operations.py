"""What each client did and saw, one line per request: the raw material of the checkers.

A request that the client repeated under one key is one operation: it begins with the first send and ends with the answer,
or with the moment when the client gave up. So an operation's interval always holds the moment in which the shop carried
it out, and a client that gave up says "not known" and not "failed". (Counting tries apart was turned down: the shop's
promise is about the key, not about the packet.) Flat on purpose: five kinds of struct would make each reader a switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from everopen.drill.history import UNCERTAIN, Acknowledged

Kind = Literal[
    "order",
    "checkout",
    "read_order",
    "read_cart",
    "read_stock",
    "cart_add",
    "cart_set",
    "cart_clear",
    "restock",
]
"""restock: goods that staff received, corrected or took back; `seen` has what came (negative: what went)."""


GOOD = ("acknowledged", "read", "done")
"""Outcomes of requests that the shop carried out."""


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request of one client. Times are Unix seconds by the client's clock."""

    client: str
    """Who: one client has one request under way at a time. With a cookie it is one session."""
    kind: Kind
    sent: float
    """When it was first sent (never later than the shop could have begun)."""
    ended: float
    """When the answer was there, or the client gave up."""
    outcome: str
    """One of `history.OUTCOMES`."""
    status: int = 0
    key: str = ""
    due: float | None = None
    """When it should have been sent; None: when it was."""
    tries: int = 1
    replayed: bool = False
    lines: tuple[tuple[str, int], ...] = ()
    """What was asked: (SKU, quantity); of a read, the SKU or nothing."""
    seen: tuple[tuple[str, int], ...] = ()
    """What was answered: the order's lines, the cart's lines, or (SKU, available) of a product or of a sold-out."""
    order: str = ""
    """The order's id, from the answer or asked for."""
    order_status: str = ""
    total: int | None = None
    token: str = "tok_approve"

    @property
    def answered(self) -> bool:
        """Whether the client knows what became of it."""
        return self.outcome not in UNCERTAIN and self.outcome != "unsent"

    @property
    def good(self) -> bool:
        """Whether the shop did what was asked."""
        return self.outcome in GOOD

    @property
    def begun(self) -> float:
        """From when its wait counts."""
        return self.sent if self.due is None else self.due


class OperationLog:
    """Writes operations down as JSON lines, in order of their ends."""

    def __init__(self, path: Path) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._file: BinaryIO = open(path, "ab", buffering=1 << 16)  # noqa: SIM115

    def write(self, operation: Operation) -> None:
        """One operation that is over."""
        self._file.write(self._encode(operation) + b"\n")

    def close(self) -> None:
        """Flushes the file."""
        self._file.close()


class Operations:
    """Operations that can be walked through again and again: from files (half a million need not fit into memory) or from
    values. A torn last line (the client was killed) is passed over."""

    def __init__(self, *files: Path, values: Iterable[Operation] = ()) -> None:
        self._files = files
        self._values = tuple(values)

    def __iter__(self) -> Iterator[Operation]:
        yield from self._values
        decode = msgspec.json.Decoder(Operation).decode
        for path in self._files:
            with open(path, "rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        yield decode(line)


def from_acknowledged(orders: Iterable[Acknowledged], client: str = "") -> Iterator[Operation]:
    """The orders of a load client's ledger as operations. (That ledger has no first send; the intended start stands for it,
    which is earlier and so never wrong.)"""
    for order in orders:
        yield Operation(
            client=client or order.key,
            kind="order",
            sent=order.intended,
            ended=order.answered,
            outcome="acknowledged",
            status=201,
            key=order.key,
            due=order.intended,
            tries=order.tries,
            replayed=order.replayed,
            lines=((order.sku, order.quantity),),
            seen=((order.sku, order.quantity),),
            order=order.id,
            order_status="placed",
            total=order.total,
        )
