"""The catalogue of events: what topics there are, what each one means, and what its `data` holds.

Rows of the outbox are thin: topic, subject, and what the shop could not say later. The facts are looked up when the event
leaves, so they are as of then: an `order.placed` that is delivered late shows an order that is paid already. The topic says
what happened; `data` says how things stand. What a writer put into the payload is a snapshot and wins over a fact of the
same name. `docs/events.md` is made from this table.

A subject that announces something adds a row to TOPICS, writes `INSERT INTO outbox (topic, subject, payload)` in the
transaction of the change, and is done. What happens to an order has the order's id as its subject. Lock the order before you
write: that is what keeps its events in order."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple, get_args, get_type_hints
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from everopen.base.money import Money

Kind = Literal["order", "refund", "payment", "other"]


class LineFacts(Struct, frozen=True):
    """A line of an order or refund."""

    sku: str
    title: str
    quantity: int
    unit_price: Money


class OrderData(Struct, frozen=True):
    """An order as it stands when the event leaves. `status` may be further on than the topic says."""

    order_id: UUID
    status: str
    total: Money
    lines: list[LineFacts]
    email: str
    placed_at: datetime
    reference: str | None


class CancelledData(OrderData, frozen=True):
    """An order that was taken back, with the reason that was given for it."""

    reason: str | UnsetType = UNSET


class ShippedData(OrderData, frozen=True):
    """An order of which a parcel left the house: its number within the order, and how to follow it."""

    shipment: int
    carrier: str
    tracking: str


class ReturnData(OrderData, frozen=True):
    """An order of which goods come back. `rma` is the number on the parcel, `reason` what was said with this step."""

    rma: int
    reason: str


class RefundData(Struct, frozen=True):
    """Money that is promised back. `order_id` is null for a credit for a sale from elsewhere; `status` is the payment's:
    pending, unknown, refunded, declined, or null where no provider is asked."""

    refund_id: UUID
    order_id: UUID | None
    amount: Money
    status: str | None
    reason: str
    lines: list[LineFacts]


class PaymentData(Struct, frozen=True):
    """Money that moves at a provider, is held there, or goes back."""

    payment_id: UUID
    order_id: UUID
    kind: Literal["charge", "authorise", "capture", "void", "refund"]
    status: str
    amount: Money
    provider: str


class CustomerData(Struct, frozen=True):
    """A customer's address for letters, with what else the topic tells. `former`: the address before it was changed."""

    email: str
    name: str | UnsetType = UNSET
    former: str | UnsetType = UNSET


class ResetData(Struct, frozen=True):
    """What a letter for a forgotten password needs: whoever has `token` may choose a new one until `expires_at`."""

    email: str
    name: str
    token: str
    expires_at: str


class StockData(Struct, frozen=True):
    """A SKU that came down to its threshold."""

    sku: str
    available: int
    low_at: int


class Topic(NamedTuple):
    """A row of the catalogue. `kind`: whose facts `data` begins with; the event's subject is the id of one such."""

    description: str
    payload: type[Struct]
    kind: Kind = "order"
    confidential: bool = False
    """Only for subscribers that name it; not for those that want everything, and not in live streams."""


TOPICS: dict[str, Topic] = {
    "order.placed": Topic("An order was accepted: its goods are reserved, its payment is under way.", OrderData),
    "order.authorised": Topic("The provider holds the order's money; staff capture it later.", OrderData),
    "order.paid": Topic("The order's money was captured; its goods have left the stock.", OrderData),
    "order.declined": Topic("The provider said no; the order's goods are free again.", OrderData),
    "order.cancelled": Topic("The order was taken back before anything was sent; its goods are free again.", CancelledData),
    "order.shipped": Topic("A parcel of the order left the house.", ShippedData),
    "order.completed": Topic("All of the order has arrived.", OrderData),
    "order.returned": Topic("All of the order was given back after it was sent.", CancelledData),
    "return.requested": Topic("The customer asks to send goods back.", ReturnData),
    "return.received": Topic("A return's parcel is here.", ReturnData),
    "return.inspected": Topic("A return's goods were looked at; a refund of what was accepted is announced by itself.", ReturnData),
    "return.withdrawn": Topic("The customer keeps the goods.", ReturnData),
    "return.refused": Topic("Staff do not take the goods back.", ReturnData),
    "order.refund": Topic("Money was promised back for lines of an order.", RefundData, "refund"),
    "refund.paid": Topic("The provider has paid a refund, or given back what was paid too late.", PaymentData, "payment"),
    "refund.failed": Topic("The provider refused to pay a refund: somebody has to look.", PaymentData, "payment"),
    "customer.credit": Topic("Money was promised back for a sale that is not in this shop.", RefundData, "refund"),
    "payment.captured": Topic("A part, or all, of what was authorised was captured.", PaymentData, "payment"),
    "payment.capture_failed": Topic("The provider refused to capture what it holds: somebody has to look.", PaymentData, "payment"),
    "payment.voided": Topic("What was authorised and not captured was given back.", PaymentData, "payment"),
    "payment.void_failed": Topic("The provider refused to give back what it holds: somebody has to look.", PaymentData, "payment"),
    "payment.late": Topic("Money was captured or held for an order that is no more; it goes back by itself.", PaymentData, "payment"),
    "payment.declined": Topic("A payment was refused after its order was given up; nothing follows.", PaymentData, "payment"),
    "stock.low": Topic("A SKU came down to its threshold; told once until it is above it again.", StockData, "other"),
    "customer.registered": Topic("A customer opened an account.", CustomerData, "other"),
    "customer.email_changed": Topic("A customer's address changed: write to the former one too.", CustomerData, "other"),
    "customer.password_changed": Topic("A customer's password changed.", CustomerData, "other"),
    "customer.password_reset": Topic("A customer forgot the password: send the letter.", ResetData, "other", True),
}  # fmt: skip
"""Topic to its row, in the order of an order's life."""
PUBLIC = tuple(name for name, topic in TOPICS.items() if not topic.confidential)
"""What is told to those who want everything. (A topic that nobody described is told to nobody.)"""


def topic_of(name: str) -> Topic:
    """The topic's row; a topic that nobody described is passed on with its payload alone."""
    return TOPICS.get(name) or Topic("", Struct, "other")


def page() -> str:
    """`docs/events.md`: the table of topics and what their data hold."""
    rows = [
        f"| `{name}` | {topic.description}{_CONFIDENTIAL if topic.confidential else ''} | {_noun(topic.kind)} | [`{topic.payload.__name__}`](#{topic.payload.__name__.lower()}) |"
        for name, topic in TOPICS.items()
    ]
    kinds: dict[type[Struct], None] = {}
    for topic in TOPICS.values():
        kinds[topic.payload] = None
        for nested in _nested(topic.payload):
            kinds[nested] = None
    parts = [_INTRODUCTION, "\n".join(["| topic | it says | subject | data |", "|---|---|---|---|", *rows])]
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        hints = get_type_hints(kind)
        fields = [
            f"| `{field.encode_name}` | {_spell(hints[field.name])} |"
            for field in msgspec.structs.fields(kind)
        ]
        parts += [
            f"### {kind.__name__}",
            " ".join((kind.__doc__ or "").split()),
            "\n".join(["| field | type |", "|---|---|", *fields]),
        ]
    return "\n\n".join(parts) + "\n"


_CONFIDENTIAL = " **Confidential**: only for webhooks of subscribers that name it."


def _noun(kind: Kind) -> str:
    return {"order": "the order", "refund": "the refund", "payment": "the payment", "other": "see data"}[kind]


def _nested(kind: type[Struct]) -> list[type[Struct]]:
    found = []
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and issubclass(part, Struct):
                found += [part, *_nested(part)]
    return found


_WORDS: dict[object, str] = {
    str: "text",
    int: "whole number",
    bool: "true or false",
    float: "number",
    UUID: "text (UUID)",
    datetime: "text (RFC 3339 time)",
}


def _spell(hint: object) -> str:
    parts = get_args(hint)
    if hint is type(None):
        return "null"
    if getattr(hint, "__origin__", None) is list:
        return f"list of {_spell(parts[0])}"
    if getattr(hint, "__origin__", None) is dict:
        return "object"
    if getattr(hint, "__origin__", None) is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if parts:
        words = [_spell(part) for part in parts if part is not UnsetType]
        return " or ".join(words) + (", may be missing" if UnsetType in parts else "")
    if isinstance(hint, type) and issubclass(hint, Struct):
        return f"[`{hint.__name__}`](#{hint.__name__.lower()})"
    return _WORDS.get(hint, "any")


_INTRODUCTION = """# Events

Made from `trading/events/catalogue.py`; `python -m everopen.trading.events.catalogue > docs/events.md` renews it.

Each event is announced in the transaction of what it tells, gets a number when it is committed, and is delivered **at least
once, and per order in order** (`customer.credit` and what belongs to no order: per subject). Two deliveries of one event have
the same `id`: keep the ids you have handled, and a second one costs nothing.

```json
{"id": "evt_42", "topic": "order.paid", "subject": "0193…", "created_at": "2026-11-23T10:00:00Z", "data": {…}}
```

`data` shows how things stand when the event leaves, not when it was written: its `status` may be further on than the topic.
Fields may be added; ignore what you don't know.

## Webhooks

`POST /api/subscribers` with `{"url": "https://…", "topics": ["order.paid"]}` (no topics: all) answers the `secret`, this once.
Signatures follow [Standard Webhooks](https://www.standardwebhooks.com), so its libraries check them:

| header | what |
|---|---|
| `webhook-id` | the event's `id`; the same for each attempt |
| `webhook-timestamp` | Unix seconds of this attempt; refuse what is older than five minutes |
| `webhook-signature` | `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body` under the secret (the base64 after `whsec_`) |

Any 2xx within the time limit (`[events] timeout_s`) means that you have it. Anything else, and no answer, is tried again with growing pauses;
after `attempts_max` failures the event is a dead letter, and the next ones of its order go on. `410` pauses the subscriber.
Redirects are not followed. `GET /api/subscribers/{id}/deliveries` shows what waits and what is dead,
`POST /api/subscribers/{id}/replay` sends dead letters again, or, with `{"after": "evt_41"}`, everything since.

## Live

`GET /api/events` (staff) and `GET /api/orders/{id}/events` (whoever has the order's id) are server-sent events: `id` is the
event's, `event` its topic, `data` the JSON above. After a break, browsers and `Last-Event-ID` go on where they were, at any
worker and after a failover; nothing is left out. Without it a stream begins with what happens next; `?after=evt_0` begins with
the oldest that is kept.

## Topics"""

if __name__ == "__main__":
    print(page(), end="")
