"""The state machines of an order and of a return, as tables.

An order that waits for its money and one whose goods are on the way are in the same table, because only together do they
say what can't happen: nothing ships before it is paid, nothing is cancelled once a part of it is on the way. A row says
from where, by which event, to where, what else happens in that transaction, and why. The database keeps the same rows
(`order_transitions()`), refuses what they lack, and `everopen audit` walks each order's history along them; the diagram in
`docs/lifecycle.md` is drawn from here and a test keeps all three the same.

A ladder of ifs at each place that moves an order was turned down: five subjects move orders, and nobody could have said
which states there are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

OrderStatus = Literal[
    "placed",
    "authorised",
    "paid",
    "declined",
    "cancelled",
    "partly_shipped",
    "shipped",
    "completed",
    "returned",
]
"""placed: stock is reserved, payment is under way. authorised: the provider holds the money, stock is still reserved. paid:
money captured, stock consumed. declined: the provider said no, stock released. cancelled: taken back before it was paid
(stock released), or all given back before anything was shipped. partly_shipped, shipped: on the way. completed: arrived.
returned: all of it was given back after it was shipped."""

ReturnStatus = Literal["requested", "received", "inspected", "withdrawn", "refused"]
"""requested: the customer wants to send goods back. received: the parcel is here. inspected: each piece was looked at, and
what was accepted is refunded. withdrawn: the customer changed their mind. refused: staff said no."""


class Transition(NamedTuple):
    """One row. From a state, one event leads to one state."""

    source: str
    event: str
    target: str
    effect: str
    """What else is written in the same transaction."""
    reason: str
    """Why there is such a row."""


ORDER_TRANSITIONS: tuple[Transition, ...] = (
    Transition("placed", "authorise", "authorised", "none", "the provider holds the money until goods leave"),
    Transition("placed", "capture", "paid", "stock leaves the shelf, cash is posted", "the money is here"),
    Transition("placed", "decline", "declined", "stock and sale are released", "the provider said no"),
    Transition(
        "placed", "cancel", "cancelled", "stock and sale are released", "taken back before it was paid"
    ),
    Transition("placed", "expire", "cancelled", "stock and sale are released", "nobody paid in time"),
    Transition(
        "authorised", "capture", "paid", "stock leaves the shelf, cash is posted", "the money is here"
    ),
    Transition(
        "authorised",
        "cancel",
        "cancelled",
        "stock and sale are released, the hold is ended",
        "taken back before it was paid",
    ),
    Transition(
        "authorised",
        "expire",
        "cancelled",
        "stock and sale are released, the hold is ended",
        "the provider holds money for some days only",
    ),
    Transition(
        "paid", "ship_part", "partly_shipped", "a shipment", "a part is on the way, the rest is still here"
    ),
    Transition("paid", "ship_all", "shipped", "a shipment", "nothing is left to send"),
    Transition(
        "paid", "refund_all", "cancelled", "a refund", "all was given back before anything of it was shipped"
    ),
    Transition(
        "paid",
        "return_all",
        "returned",
        "a refund, goods as inspected",
        "handed over without a shipment, and all of it came back",
    ),
    Transition("partly_shipped", "ship_all", "shipped", "a shipment", "nothing is left to send"),
    Transition(
        "partly_shipped",
        "refund_rest",
        "shipped",
        "a refund",
        "what was not sent was given back: nothing is left to send",
    ),
    Transition("shipped", "complete", "completed", "none", "it arrived, or enough days have gone by"),
    Transition(
        "shipped", "return_all", "returned", "a refund, goods as inspected", "all of it was given back"
    ),
    Transition(
        "completed", "return_all", "returned", "a refund, goods as inspected", "all of it was given back"
    ),
)

RETURN_TRANSITIONS: tuple[Transition, ...] = (
    Transition("requested", "receive", "received", "none", "the parcel is here"),
    Transition("requested", "withdraw", "withdrawn", "none", "the customer keeps the goods"),
    Transition("requested", "refuse", "refused", "none", "staff do not take the goods back"),
    Transition(
        "received",
        "inspect",
        "inspected",
        "a refund of what was accepted, good pieces to stock",
        "money goes back only for what was looked at",
    ),
)

ORDER_STATUSES: tuple[str, ...] = get_args(OrderStatus)
RETURN_STATUSES: tuple[str, ...] = get_args(ReturnStatus)
UNTOLD = frozenset(
    {("placed", "capture"), ("placed", "decline"), ("placed", "authorise"), ("authorised", "capture")}
)
"""(from, event) of payments, of which `order_history` has no row: `placed_at` and `settled_at` tell them, and a row per
order would cost the order path what it has been spared."""
EVER_PAID: tuple[str, ...] = ("paid", "partly_shipped", "shipped", "completed", "returned")
"""States of an order whose money was captured. (A cancelled one may have been paid too; its history says so.)"""
RESERVING: tuple[str, ...] = ("placed", "authorised")
"""States in which an order's goods are reserved and still on the shelf."""


def target(table: tuple[Transition, ...], source: str, event: str) -> str | None:
    """Where an event leads from a state; None when the table has no such row."""
    return next((row.target for row in table if (row.source, row.event) == (source, event)), None)


def diagram(table: tuple[Transition, ...]) -> str:
    """The table as a mermaid state diagram. A state that nothing leaves is an end."""
    sources = {row.source for row in table}
    targets = [row.target for row in table]
    start = table[0].source
    ends = sorted({state for state in targets if state not in sources}, key=targets.index)
    return "\n".join(
        (
            "stateDiagram-v2",
            f"    [*] --> {start}",
            *(f"    {row.source} --> {row.target}: {row.event}" for row in table),
            *(f"    {state} --> [*]" for state in ends),
        )
    )


def listing(table: tuple[Transition, ...]) -> str:
    """The table as Markdown."""
    return "\n".join(
        (
            "| from | event | to | also written | because |",
            "|---|---|---|---|---|",
            *(
                f"| {row.source} | {row.event} | {row.target} | {row.effect} | {row.reason} |"
                for row in table
            ),
        )
    )


def section(table: tuple[Transition, ...]) -> str:
    """What `docs/lifecycle.md` shows of a table."""
    return f"```mermaid\n{diagram(table)}\n```\n\n{listing(table)}"


def page(text: str) -> str:
    """The page with the sections between its marks renewed. Pure."""
    for name, table in (("orders", ORDER_TRANSITIONS), ("returns", RETURN_TRANSITIONS)):
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}<!-- {name} -->\n{section(table)}\n{end}{after}"
    return text
