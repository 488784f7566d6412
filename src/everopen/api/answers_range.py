"""The range of goods as HTTP: outcomes and values as answers, or as refusals with a sentence. Pure, as `answers.py`."""

from __future__ import annotations

from typing import NoReturn

import msgspec

from everopen.api import answers
from everopen.api.problems import Refusal
from everopen.api.shapes_range import (
    CatalogueEntry,
    CategoryAnswer,
    ChangeAnswer,
    ChangedAnswer,
    DifferenceAnswer,
    FacetAnswer,
    FacetsAnswer,
    FacetValueAnswer,
    GroupEntry,
    HistoryAnswer,
    PriceAnswer,
    ProductAnswer,
    VersionAnswer,
)
from everopen.api.shapes_stock import MovementAnswer, PlaceAnswer, StockViewAnswer
from everopen.base.money import Money
from everopen.trading import range as goods
from everopen.trading.orders import NotFound, SoldOut
from everopen.trading.search import Facets
from everopen.trading.stock import Movement, NotThere, StockView, UnknownLocation

FIELD_NAMES = {"category_id": "category", "group_id": "group", "unit_price": "price"}
"""Columns whose name in the API is another one."""


def product(found: goods.Product, *, past: bool = False) -> ProductAnswer:
    """A product as customers see it."""
    return ProductAnswer(
        found.sku,
        found.title,
        found.description,
        money(found.price, found.currency),
        found.tracks_stock,
        found.available,
        found.published,
        found.buyer_limit,
        found.category_id,
        found.group_id,
        found.tax_category,
        found.weight_g,
        found.attributes,
        found.images,
        found.version,
        found.on_hand if past else msgspec.UNSET,
    )


def entry(found: goods.Product) -> CatalogueEntry:
    """A product as staff keep it."""
    return CatalogueEntry(
        found.sku,
        found.title,
        money(found.unit_price, found.currency),
        found.description,
        found.tracks_stock,
        found.published,
        found.buyer_limit,
        found.category_id,
        found.group_id,
        found.tax_category,
        found.weight_g,
        found.attributes,
        found.images,
        found.version,
        found.available,
    )


def money(amount: int | None, currency: str) -> Money | None:
    """An amount that may be missing."""
    return None if amount is None else Money(amount, currency)


def facets(found: Facets, currency: str) -> FacetsAnswer:
    """What a search can be narrowed by."""
    return FacetsAnswer(
        found.total,
        found.in_stock,
        money(found.price_min, currency),
        money(found.price_max, currency),
        [FacetValueAnswer(value.value, value.count) for value in found.categories],
        [
            FacetAnswer(name, [FacetValueAnswer(value.value, value.count) for value in values])
            for name, values in found.attributes.items()
        ],
    )


def changes(found: list[goods.Change], currency: str) -> list[ChangeAnswer]:
    """Changed fields under their names in the API."""
    return [
        ChangeAnswer(
            FIELD_NAMES.get(change.field, change.field),
            *(
                money(value, currency) if change.field == "unit_price" else value
                for value in (change.old, change.new)
            ),
        )
        for change in found
    ]


def difference(found: goods.Difference, currency: str) -> DifferenceAnswer:
    """What a batch would change."""
    changed = [
        ChangedAnswer(item.sku, item.version, changes(item.changes, currency)) for item in found.changed
    ]
    return DifferenceAnswer(found.added, changed, found.unchanged)


def history(sku: str, versions: list[goods.Version], following: str | None, currency: str) -> HistoryAnswer:
    """Versions, the newest first."""
    shown = [
        VersionAnswer(item.version, item.changed_at, item.actor, item.reason, changes(item.changes, currency))
        for item in versions
    ]
    return HistoryAnswer(sku, shown, following)


def price(found: goods.Price) -> PriceAnswer:
    """A price with its validity."""
    return PriceAnswer(Money(found.amount, found.currency), found.valid_from, found.valid_to)


def category(found: goods.Category) -> CategoryAnswer:
    """A place in the tree."""
    return CategoryAnswer(found.id, found.name, found.parent, found.position, found.path, found.products)


def group(found: goods.Group) -> GroupEntry:
    """A product group."""
    return GroupEntry(found.id, found.title, found.description, found.varies_by)


def stock(found: StockView, movements: list[Movement], following: str | None) -> StockViewAnswer:
    """A SKU's goods with a page of what moved."""
    return StockViewAnswer(
        found.sku,
        found.on_hand,
        found.reserved,
        found.available,
        found.backorder,
        found.low_at,
        found.low_since,
        [PlaceAnswer(place.location, place.on_hand) for place in found.places],
        [
            MovementAnswer(
                item.id,
                item.moved_at,
                item.delta,
                item.kind,
                item.reason,
                item.location,
                item.actor,
                item.key,
            )
            for item in movements
        ],
        following,
    )


def refuse(outcome: msgspec.Struct, what: str = "product") -> NoReturn:
    """Raises the refusal that an outcome stands for; `what` was looked for and not found."""
    match outcome:
        case goods.Stale(skus):
            raise Refusal(
                "changed-meanwhile", f"{_names(skus)} changed since the version that was named.", skus=skus
            )
        case goods.UnknownCategory(ids):
            raise Refusal("unknown-category", f"There is no category {_names(ids)}.")
        case goods.UnknownGroup(ids):
            raise Refusal("unknown-group", f"There is no product group {_names(ids)}.")
        case goods.CategoryCircle(ids):
            raise Refusal("conflict", f"{_names(ids)} would lie below themselves.")
        case goods.PricesOverlap(currency):
            raise Refusal("bad-input", f"`prices`: two of those in {currency} would be valid at once.")
        case UnknownLocation(name):
            raise Refusal("unknown-location", f"There is no location “{name}”.")
        case NotThere(sku, location, held, requested):
            raise Refusal(
                "conflict", f"“{sku}”: {requested:,} to be taken from “{location}”, which has {held:,}."
            )
        case NotFound():
            raise Refusal("not-found", f"There is no such {what}.")
        case SoldOut(sku, available, requested) if what == "back-order":
            raise Refusal(
                "conflict",
                f"“{sku}”: customers already count on {requested:,} pieces that are not there yet; "
                f"{available:,} on back-order would be too few.",
            )
    answers.refuse(outcome)


def _names(ids: tuple[str, ...]) -> str:
    shown = ", ".join(f"“{name}”" for name in ids[: answers.SKUS_SHOWN])
    more = len(ids) - answers.SKUS_SHOWN
    return shown if more <= 0 else f"{shown} and {more} more"
