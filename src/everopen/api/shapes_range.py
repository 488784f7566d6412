"""The range of goods as JSON: products, categories, groups, prices, versions. (The goods themselves: `shapes_stock.py`.)

What is left out of a change stays as it is (`UNSET`); null takes it away. See `shapes.py` for the rules that all bodies share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from everopen.api.shapes import SKU_PATTERN, Amount, NewSku, Reason, Title
from everopen.base.money import Money

SLUG_PATTERN = r"^[a-z0-9][a-z0-9._-]*$(?!\n)"
"""Ids that stand in addresses and in files."""
ATTRIBUTE_PATTERN = r"^[^:\x00-\x1f\x7f-\x9f\u2028\u2029]+$(?!\n)"
"""A colon ends the name in `?attribute=name:value`."""
IMAGE_PATTERN = r'^(https?:/)?/[^\s"<>\\\x00-\x1f\x7f]+$(?!\n)'
"""An address that browsers load: http, https, or a path of the shop's own site."""

Slug = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=SLUG_PATTERN,
        description="A short id of lower-case letters, digits and . _ -.",
    ),
]
AttributeName = Annotated[str, Meta(min_length=1, max_length=64, pattern=ATTRIBUTE_PATTERN)]
AttributeValue = Annotated[str, Meta(min_length=1, max_length=200, pattern=SKU_PATTERN)]
Attributes = Annotated[
    dict[AttributeName, Annotated[list[AttributeValue], Meta(min_length=1, max_length=50)]],
    Meta(max_length=50, description='Facts that buyers filter by: {"colour": ["red"], "size": ["M"]}.'),
]
Images = Annotated[
    list[Annotated[str, Meta(min_length=2, max_length=1000, pattern=IMAGE_PATTERN)]],
    Meta(max_length=20, description="Addresses of pictures, the first one is the main one."),
]
Weight = Annotated[int, Meta(ge=0, le=1_000_000_000, description="Grams.")]
BuyerLimit = Annotated[int, Meta(ge=1, le=1_000_000, description="Most pieces that one buyer gets.")]
Description = Annotated[str, Meta(max_length=5000)]
VersionNumber = Annotated[int, Meta(ge=1, le=2_147_483_647)]


# --- requests ---------------------------------------------------------------------------------------------------


class ProductBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A product to add or change. What is left out stays as it is."""

    sku: NewSku
    title: Title
    price: Amount | UnsetType | None = UNSET
    """null: in the catalogue, but sold only at a price that staff name."""
    description: Description | UnsetType = UNSET
    tracks_stock: bool | UnsetType = UNSET
    """False for what has no stock: postage, fees, discounts. It can't change once the SKU exists."""
    published: bool | UnsetType = UNSET
    """False: visitors neither see nor find it, and it can't be ordered."""
    buyer_limit: BuyerLimit | UnsetType | None = UNSET
    category: Slug | UnsetType | None = UNSET
    group: Slug | UnsetType | None = UNSET
    """The product group that it is a variant of."""
    tax_category: Slug | UnsetType | None = UNSET
    weight_g: Weight | UnsetType | None = UNSET
    attributes: Attributes | UnsetType = UNSET
    images: Images | UnsetType = UNSET
    version: VersionNumber | UnsetType = UNSET
    """The version that the change was made from: with another one nothing of the batch is changed (409)."""


class ProductsBody(Struct, frozen=True, forbid_unknown_fields=True):
    products: Annotated[list[ProductBody], Meta(min_length=1)]
    reason: Reason | UnsetType = UNSET
    """Why; stands in the products' history."""


class ProductPatchBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a product. What is left out stays as it is."""

    title: Title | UnsetType = UNSET
    price: Amount | UnsetType | None = UNSET
    description: Description | UnsetType = UNSET
    published: bool | UnsetType = UNSET
    buyer_limit: BuyerLimit | UnsetType | None = UNSET
    category: Slug | UnsetType | None = UNSET
    group: Slug | UnsetType | None = UNSET
    tax_category: Slug | UnsetType | None = UNSET
    weight_g: Weight | UnsetType | None = UNSET
    attributes: Attributes | UnsetType = UNSET
    images: Images | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET


class PriceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A price from `valid_from` (null: always) until just before `valid_to` (null: for ever)."""

    price: Amount
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None
    valid_to: Annotated[datetime, Meta(tz=True)] | None = None


class PricesBody(Struct, frozen=True, forbid_unknown_fields=True):
    """All prices with validity of a product; an empty list leaves it its catalogue price."""

    prices: Annotated[list[PriceBody], Meta(max_length=500)]
    reason: Reason | UnsetType = UNSET


class CategoryBody(Struct, frozen=True, forbid_unknown_fields=True):
    id: Slug
    name: Title
    parent: Slug | None = None
    position: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    """Order among its siblings."""


class CategoriesBody(Struct, frozen=True, forbid_unknown_fields=True):
    categories: Annotated[list[CategoryBody], Meta(min_length=1)]


class GroupBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What several products have in common. `varies_by`: the attributes that tell them apart."""

    id: Slug
    title: Title
    description: Description = ""
    varies_by: Annotated[list[AttributeName], Meta(max_length=10)] = []


class GroupsBody(Struct, frozen=True, forbid_unknown_fields=True):
    groups: Annotated[list[GroupBody], Meta(min_length=1)]


# --- answers ----------------------------------------------------------------------------------------------------


class ProductAnswer(Struct, frozen=True):
    sku: str
    title: str
    description: str
    price: Money | None
    """What a piece costs now; null: sold only at a price that staff name."""
    tracks_stock: bool
    available: int | None
    """How many can be ordered now; null when the product has no stock (postage, fees)."""
    published: bool = True
    buyer_limit: int | None = None
    category: str | None = None
    group: str | None = None
    tax_category: str | None = None
    weight_g: int | None = None
    attributes: dict[str, list[str]] = {}
    images: list[str] = []
    version: int = 1
    """Grows with each change of the product (not of its stock); the `ETag` of this answer."""
    on_hand: int | UnsetType | None = UNSET
    """With `as_of`: what lay on the shelf then. (`available` is null then: past reservations are not kept.)"""


class FacetValueAnswer(Struct, frozen=True):
    value: str
    count: int


class FacetAnswer(Struct, frozen=True):
    name: str
    values: list[FacetValueAnswer]


class FacetsAnswer(Struct, frozen=True):
    """What the products that were found can be narrowed by. The values of an attribute are counted under all filters but
    that attribute's own; categories count what is below them, too."""

    total: int
    in_stock: int
    price_min: Money | None
    price_max: Money | None
    categories: list[FacetValueAnswer]
    attributes: list[FacetAnswer]


class ProductsAnswer(Struct, frozen=True):
    products: list[ProductAnswer]
    next: str | None
    """`after` of the next page; null on the last one."""
    facets: FacetsAnswer | UnsetType = UNSET
    """With `facets=true`."""


class CatalogueEntry(Struct, frozen=True):
    """A product as staff keep it: what `PUT /api/products` takes, with its version and its stock."""

    sku: str
    title: str
    price: Money | None
    description: str
    tracks_stock: bool
    published: bool
    buyer_limit: int | None
    category: str | None
    group: str | None
    tax_category: str | None
    weight_g: int | None
    attributes: dict[str, list[str]]
    images: list[str]
    version: int
    available: int | None


class CatalogueAnswer(Struct, frozen=True):
    products: list[CatalogueEntry]
    next: str | None


class ProductsChangedAnswer(Struct, frozen=True):
    added: int
    updated: int


class ChangeAnswer(Struct, frozen=True):
    """A field and its values before and after."""

    field: str
    old: Any
    new: Any


class ChangedAnswer(Struct, frozen=True):
    sku: str
    version: int
    """The product's version now: hand it to `PUT /api/products`, and what was shown here is what is changed."""
    changes: list[ChangeAnswer]


class DifferenceAnswer(Struct, frozen=True):
    """What `PUT /api/products` with the same body would change."""

    added: list[str]
    changed: list[ChangedAnswer]
    unchanged: int


class VersionAnswer(Struct, frozen=True):
    version: int
    changed_at: datetime
    actor: str
    """Who; empty: the shop itself."""
    reason: str
    changes: list[ChangeAnswer]


class HistoryAnswer(Struct, frozen=True):
    """A product's versions, the newest first."""

    sku: str
    versions: list[VersionAnswer]
    next: str | None


class PriceAnswer(Struct, frozen=True):
    price: Money
    valid_from: datetime | None
    valid_to: datetime | None


class PricesAnswer(Struct, frozen=True):
    """Prices with validity, as they were recorded at the time asked for."""

    sku: str
    prices: list[PriceAnswer]


class CategoryAnswer(Struct, frozen=True):
    id: str
    name: str
    parent: str | None
    position: int
    path: list[str]
    """Ids from the root to it."""
    products: int
    """Published products in it and below it."""


class CategoriesAnswer(Struct, frozen=True):
    """The tree, depth first."""

    categories: list[CategoryAnswer]


class GroupAnswer(Struct, frozen=True):
    """A product group with the variants that visitors see (at most 200)."""

    id: str
    title: str
    description: str
    varies_by: list[str]
    variants: list[ProductAnswer]


class GroupEntry(Struct, frozen=True):
    id: str
    title: str
    description: str
    varies_by: list[str]


class GroupsAnswer(Struct, frozen=True):
    groups: list[GroupEntry]
    next: str | None


class PutAnswer(Struct, frozen=True):
    items: int
    """How many were written."""


def given(body: Struct, *leave: str) -> dict[str, Any]:
    """What a body names, as it is."""
    return {
        name: value
        for name, value in msgspec.structs.asdict(body).items()
        if value is not UNSET and name not in leave
    }
