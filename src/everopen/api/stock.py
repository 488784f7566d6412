"""Goods: what is where, and what staff book of them."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET

from everopen.api import answers_range as answers
from everopen.api.catalogue import AS_OF, SKU, as_of, replay_header, within_batch
from everopen.api.cursors import cut, page_parameters, read_page
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Route
from everopen.api.shapes_range import PutAnswer
from everopen.api.shapes_stock import (
    CorrectionBody,
    LocationAnswer,
    LocationsAnswer,
    LocationsBody,
    ReceiptBody,
    StockAnswer,
    StockPatchBody,
    StockSettingsAnswer,
    StockViewAnswer,
    TransferBody,
)
from everopen.api.shop import Shop
from everopen.trading import stock
from everopen.trading.orders import StockChanged, StockItem
from everopen.trading.range import Put
from everopen.trading.stock import Location, StockOutcome, StockView

NO_LONGER = -1
"""How `set_stock` is told that a SKU has no threshold any more."""


async def receive_stock(shop: Shop, call: Call) -> Answer:
    """Books goods that arrived."""
    body: ReceiptBody = call.body
    items, places = summed(shop, [(item.sku, item.quantity, item.location) for item in body.items])
    return _booked(
        await stock.receive_stock(
            shop.primary,
            items,
            locations=places,
            reason=body.reason,
            key=call.key,
            fingerprint=fingerprint("receipt", items, places, body.reason),
        )
    )


async def correct_stock(shop: Shop, call: Call) -> Answer:
    """Books what a count found."""
    body: CorrectionBody = call.body
    items, places = summed(shop, [(item.sku, item.delta, item.location) for item in body.items])
    return _booked(
        await stock.correct_stock(
            shop.primary,
            items,
            locations=places,
            reason=body.reason,
            key=call.key,
            fingerprint=fingerprint("correction", items, places, body.reason),
        )
    )


async def transfer_stock(shop: Shop, call: Call) -> Answer:
    """Moves goods from one location to another."""
    body: TransferBody = call.body
    if body.source == body.target:
        raise Refusal("bad-input", "`source` and `target` must be different locations.")
    items, _ = summed(shop, [(item.sku, item.quantity, None) for item in body.items])
    return _booked(
        await stock.transfer_stock(
            shop.primary,
            items,
            source=body.source,
            target=body.target,
            reason=body.reason,
            key=call.key,
            fingerprint=fingerprint("transfer", items, body.source, body.target, body.reason),
        )
    )


def _booked(outcome: StockOutcome) -> Answer:
    if not isinstance(outcome, StockChanged):
        answers.refuse(outcome)
    return Answer(StockAnswer(outcome.items), replay_header(outcome.replayed))


def summed(
    shop: Shop, entries: list[tuple[str, int, str | None]]
) -> tuple[list[StockItem], list[str | None]]:
    """One item per SKU and location, with the locations beside. Raises a 422 `Refusal`."""
    within_batch(shop, "items", len(entries))
    found: dict[tuple[str, str | None], int] = {}
    for sku, quantity, location in entries:
        found[sku, location] = found.get((sku, location), 0) + quantity
    kept = [(place, quantity) for place, quantity in found.items() if quantity]
    return [StockItem(sku, quantity) for (sku, _), quantity in kept], [location for (_, location), _ in kept]


async def get_stock(shop: Shop, call: Call) -> Answer:
    """What there is of a SKU, where it lies, and what moved."""
    sku, at = call.parameters["sku"], as_of(call)
    limit, after = read_page(call, "movements", tuple[datetime, int])
    found = await stock.find_stock(shop.primary, sku, at) if len(sku) <= 64 else None
    if found is None:
        raise Refusal("not-found", f"The catalogue has no product “{sku[:80]}”.")
    if not isinstance(found, StockView):
        answers.refuse(found)
    before = after if after is not None else None if at is None else (at, 2**63 - 1)
    moved = await stock.find_movements(shop.primary, sku, limit=limit + 1, before=before)
    shown, following = cut(moved, limit, "movements", lambda item: (item.moved_at, item.id))
    return Answer(answers.stock(found, shown, following))


async def patch_stock(shop: Shop, call: Call) -> Answer:
    """Sets how a SKU may be sold out, and when it counts as low."""
    body: StockPatchBody = call.body
    sku = call.parameters["sku"]
    backorder = None if body.backorder is UNSET else body.backorder
    low_at = None if body.low_at is UNSET else NO_LONGER if body.low_at is None else body.low_at
    outcome = await stock.set_stock(
        shop.primary,
        sku,
        backorder=backorder,
        low_at=low_at,
        key=call.key,
        fingerprint=fingerprint("stock settings", sku, backorder, low_at),
    )
    if not isinstance(outcome, Put):
        answers.refuse(outcome, "product" if type(outcome).__name__ == "NotFound" else "back-order")
    return Answer(StockSettingsAnswer(sku), replay_header(outcome.replayed))


async def list_locations(shop: Shop, _call: Call) -> Answer:
    """All locations."""
    found = await stock.list_locations(shop.primary)
    return Answer(
        LocationsAnswer([LocationAnswer(item.id, item.name, item.priority, item.on_hand) for item in found])
    )


async def put_locations(shop: Shop, call: Call) -> Answer:
    """Adds or changes locations."""
    body: LocationsBody = call.body
    within_batch(shop, "locations", len(body.locations))
    items = [Location(item.id, item.name, item.priority) for item in body.locations]
    once([*body.locations], "locations")
    outcome = await stock.put_locations(
        shop.primary, items, key=call.key, fingerprint=fingerprint("locations", items)
    )
    if not isinstance(outcome, Put):
        answers.refuse(outcome)
    return Answer(PutAnswer(outcome.items), replay_header(outcome.replayed))


def once(entries: list[object], name: str) -> None:
    """Raises a 422 `Refusal` for an id that comes twice."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        found = str(getattr(entry, "id", ""))
        if found in seen:
            raise Refusal("bad-input", f"`{name}[{index}].id`: “{found}” is in the batch twice.")
        seen.add(found)


ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/stock/receipts",
        "receiveStock",
        "Book goods that arrived",
        receive_stock,
        StockAnswer,
        ReceiptBody,
        201,
        ("unknown-sku", "unknown-location"),
        scope="stock:write",
        keyed=True,
        batch=True,
    ),
    Route(
        "POST",
        "/api/stock/corrections",
        "correctStock",
        "Book what a count found",
        correct_stock,
        StockAnswer,
        CorrectionBody,
        201,
        ("unknown-sku", "unknown-location", "sold-out", "conflict"),
        scope="stock:write",
        keyed=True,
        batch=True,
    ),
    Route(
        "POST",
        "/api/stock/transfers",
        "transferStock",
        "Move goods from one location to another",
        transfer_stock,
        StockAnswer,
        TransferBody,
        201,
        ("unknown-sku", "unknown-location", "conflict"),
        scope="stock:write",
        keyed=True,
        batch=True,
    ),
    Route(
        "GET",
        "/api/stock/locations",
        "listLocations",
        "Where goods lie",
        list_locations,
        LocationsAnswer,
        scope="stock:write",
    ),
    Route(
        "PUT",
        "/api/stock/locations",
        "putLocations",
        "Add or change locations",
        put_locations,
        PutAnswer,
        LocationsBody,
        scope="stock:write",
        keyed=True,
    ),
    Route(
        "GET",
        "/api/stock/{sku:path}",
        "getStock",
        "What there is of a product, where it lies, and what moved",
        get_stock,
        StockViewAnswer,
        refusals=("not-found",),
        parameters=(SKU, AS_OF, *page_parameters()),
        scope="stock:write",
    ),
    Route(
        "PATCH",
        "/api/stock/{sku:path}",
        "patchStock",
        "Set how a product may be sold out, and when it counts as low",
        patch_stock,
        StockSettingsAnswer,
        StockPatchBody,
        refusals=("not-found", "conflict"),
        parameters=(SKU,),
        scope="stock:write",
        keyed=True,
    ),
)
