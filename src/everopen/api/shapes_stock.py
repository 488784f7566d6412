"""Goods as JSON: what is where, what staff book of them, how they may be sold out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from everopen.api.shapes import Reason, Sku, Title
from everopen.api.shapes_range import Slug

Pieces = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Difference = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]


class StockItemBody(Struct, frozen=True, forbid_unknown_fields=True):
    sku: Sku
    quantity: Pieces
    location: Slug | None = None
    """Where it was put; null: nowhere yet."""


class ReceiptBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Goods that arrived."""

    items: Annotated[list[StockItemBody], Meta(min_length=1)]
    reason: Reason = "goods received"


class CorrectionItemBody(Struct, frozen=True, forbid_unknown_fields=True):
    sku: Sku
    delta: Difference
    location: Slug | None = None


class CorrectionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a count in the warehouse found; never below what is reserved."""

    items: Annotated[list[CorrectionItemBody], Meta(min_length=1)]
    reason: Reason


class TransferItemBody(Struct, frozen=True, forbid_unknown_fields=True):
    sku: Sku
    quantity: Pieces


class TransferBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Goods that go from one location to another; null is "at no location"."""

    items: Annotated[list[TransferItemBody], Meta(min_length=1)]
    source: Slug | None = None
    target: Slug | None = None
    reason: Reason = "transfer"


class StockPatchBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How a product may be sold out, and when it counts as low. What is left out stays as it is."""

    backorder: Annotated[int, Meta(ge=0, le=1_000_000_000)] | UnsetType = UNSET
    """So many pieces more than there are may be ordered."""
    low_at: Annotated[int, Meta(ge=0, le=1000000000)] | UnsetType | None = UNSET
    """With so many pieces available, or fewer, `stock.low` is announced; null: never."""


class LocationBody(Struct, frozen=True, forbid_unknown_fields=True):
    id: Slug
    name: Title
    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    """Goods are picked where it is lowest."""


class LocationsBody(Struct, frozen=True, forbid_unknown_fields=True):
    locations: Annotated[list[LocationBody], Meta(min_length=1)]


class StockAnswer(Struct, frozen=True):
    items: int
    """How many SKUs changed."""


class PlaceAnswer(Struct, frozen=True):
    location: str | None
    """null: at no location; less than nothing: sold and not picked yet."""
    on_hand: int


class MovementAnswer(Struct, frozen=True):
    id: int
    moved_at: datetime
    delta: int
    kind: str
    reason: str
    location: str | None
    actor: str | None
    key: str | None
    """The `Idempotency-Key` of the call that moved it; null for sales."""


class StockViewAnswer(Struct, frozen=True):
    """A SKU's goods. `on_hand` is the sum of `places`. With `as_of`: `reserved` and `available` are null."""

    sku: str
    on_hand: int
    reserved: int | None
    available: int | None
    backorder: int
    low_at: int | None
    low_since: datetime | None
    """Since when it is low; null: it is not, or this is not announced yet."""
    places: list[PlaceAnswer]
    movements: list[MovementAnswer]
    next: str | None
    """`after` of the next page of movements."""


class StockSettingsAnswer(Struct, frozen=True):
    sku: str


class LocationAnswer(Struct, frozen=True):
    id: str
    name: str
    priority: int
    on_hand: int
    """Pieces of all SKUs."""


class LocationsAnswer(Struct, frozen=True):
    """In the order of picking."""

    locations: list[LocationAnswer]
