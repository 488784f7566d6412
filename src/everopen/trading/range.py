"""What the range of goods is made of, as plain values, and what differs between two states of it.

A product of ours is one SKU: what schema.org calls a variant. Products that are one thing to a buyer (a shirt in three
sizes) share a group. Attributes are names with lists of texts, one kind of value and no schema per category: numbers with
units are texts to everybody who looks for them, and a file can bring them back as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

FIELDS = (
    "title",
    "unit_price",
    "description",
    "published",
    "buyer_limit",
    "category_id",
    "group_id",
    "tax_category",
    "weight_g",
    "attributes",
    "images",
)
"""What can be changed of a product; columns of its table. (Whether it tracks stock is decided once.)"""

Attributes = dict[str, list[str]]


class ProductChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A product to add or change; what is left out stays as it is."""

    sku: str
    title: str | UnsetType = UNSET
    unit_price: int | UnsetType | None = UNSET
    description: str | UnsetType = UNSET
    tracks_stock: bool | UnsetType = UNSET
    """Only for a product that is added."""
    published: bool | UnsetType = UNSET
    buyer_limit: int | UnsetType | None = UNSET
    category_id: str | UnsetType | None = UNSET
    group_id: str | UnsetType | None = UNSET
    tax_category: str | UnsetType | None = UNSET
    weight_g: int | UnsetType | None = UNSET
    attributes: Attributes | UnsetType = UNSET
    images: list[str] | UnsetType = UNSET
    version: int | UnsetType = UNSET
    """The version that the change was made from; with another one nothing is changed (`Stale`)."""


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A product as it is, or as it was. `unit_price` is the catalogue's, `price` what a piece costs at the moment (another one
    where prices have validity times). `available` None: the SKU has no stock to run out of, or this is a past state."""

    sku: str
    title: str
    description: str
    unit_price: int | None
    price: int | None
    currency: str
    tracks_stock: bool
    available: int | None
    published: bool = True
    buyer_limit: int | None = None
    category_id: str | None = None
    group_id: str | None = None
    tax_category: str | None = None
    weight_g: int | None = None
    attributes: Attributes = {}
    images: list[str] = []
    version: int = 1
    scheduled: bool = False
    """Its price comes from `prices`, by their validity."""
    on_hand: int | None = None
    """What lay on the shelf at the time asked for (past states only)."""


class Stale(msgspec.Struct, frozen=True):
    """These products were changed since the version that the request names."""

    skus: tuple[str, ...]


class UnknownCategory(msgspec.Struct, frozen=True):
    """There are no such categories."""

    ids: tuple[str, ...]


class UnknownGroup(msgspec.Struct, frozen=True):
    """There are no such product groups."""

    ids: tuple[str, ...]


class CategoryCircle(msgspec.Struct, frozen=True):
    """These categories would lie under themselves."""

    ids: tuple[str, ...]


class Price(msgspec.Struct, frozen=True):
    """A price of a piece in a currency, from a time on (None: always) and until another (None: for ever)."""

    amount: int
    currency: str
    valid_from: datetime | None = None
    valid_to: datetime | None = None


class PricesOverlap(msgspec.Struct, frozen=True):
    """Two prices in this currency would be valid at once."""

    currency: str


class Put(msgspec.Struct, frozen=True):
    """So many categories, groups, prices or locations were written."""

    items: int
    replayed: bool = False


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the tree. `path`: the ids from the root to it. `products`: how many published ones it has, with those below it."""

    id: str
    name: str
    parent: str | None = None
    position: int = 0
    path: list[str] = []
    products: int = 0


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What several products have in common; `varies_by` names the attributes that tell them apart."""

    id: str
    title: str
    description: str = ""
    varies_by: list[str] = []


class Change(msgspec.Struct, frozen=True):
    """One field of a product that is, or would be, another."""

    field: str
    old: Any
    new: Any


class Changed(msgspec.Struct, frozen=True):
    """A product whose fields differ. `version`: the one that was compared with."""

    sku: str
    version: int
    changes: list[Change]


class Difference(msgspec.Struct, frozen=True):
    """What a batch of changes would do."""

    added: list[str]
    changed: list[Changed]
    unchanged: int


class Version(msgspec.Struct, frozen=True):
    """One version of a product: who made it, when, why, and what it changed (the first one: what it set)."""

    version: int
    changed_at: datetime
    actor: str
    reason: str
    changes: list[Change]


def changes_between(
    old: Mapping[str, Any], new: Mapping[str, Any], fields: Sequence[str] = FIELDS
) -> list[Change]:
    """The fields that `new` names and that differ from `old`."""
    return [
        Change(field, old.get(field), new[field])
        for field in fields
        if field in new and new[field] != old.get(field)
    ]


def differences(wanted: Sequence[ProductChange], existing: Mapping[str, Product]) -> Difference:
    """What writing `wanted` over `existing` (by SKU) would change."""
    added: list[str] = []
    changed: list[Changed] = []
    unchanged = 0
    for item in wanted:
        there = existing.get(item.sku)
        if there is None:
            added.append(item.sku)
            continue
        found = changes_between(msgspec.structs.asdict(there), set_fields(item))
        if found:
            changed.append(Changed(item.sku, there.version, found))
        else:
            unchanged += 1
    return Difference(added, changed, unchanged)


def set_fields(item: ProductChange) -> dict[str, Any]:
    """What a change names, by column."""
    return {name: value for name, value in msgspec.structs.asdict(item).items() if value is not UNSET}
