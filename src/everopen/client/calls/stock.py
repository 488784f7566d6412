"""Calls of `stock`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from everopen.api.shapes_range import PutAnswer
from everopen.api.shapes_stock import (
    CorrectionBody,
    LocationsAnswer,
    LocationsBody,
    ReceiptBody,
    StockAnswer,
    StockPatchBody,
    StockSettingsAnswer,
    StockViewAnswer,
    TransferBody,
)
from everopen.client.caller import Caller


class StockCalls(Caller):
    """Calls of `stock`."""

    async def receive_stock(
        self, body: ReceiptBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StockAnswer:
        """Book goods that arrived: `POST /api/stock/receipts`."""
        found: StockAnswer = await self.call(
            "POST", "/api/stock/receipts", StockAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def correct_stock(
        self, body: CorrectionBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StockAnswer:
        """Book what a count found: `POST /api/stock/corrections`."""
        found: StockAnswer = await self.call(
            "POST", "/api/stock/corrections", StockAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def transfer_stock(
        self, body: TransferBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> StockAnswer:
        """Move goods from one location to another: `POST /api/stock/transfers`."""
        found: StockAnswer = await self.call(
            "POST", "/api/stock/transfers", StockAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def list_locations(self, *, deadline_s: float | None = None) -> LocationsAnswer:
        """Where goods lie: `GET /api/stock/locations`."""
        found: LocationsAnswer = await self.call(
            "GET", "/api/stock/locations", LocationsAnswer, deadline_s=deadline_s
        )
        return found

    async def put_locations(
        self, body: LocationsBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> PutAnswer:
        """Add or change locations: `PUT /api/stock/locations`."""
        found: PutAnswer = await self.call(
            "PUT", "/api/stock/locations", PutAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_stock(
        self,
        sku: str,
        *,
        as_of: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        deadline_s: float | None = None,
    ) -> StockViewAnswer:
        """What there is of a product, where it lies, and what moved: `GET /api/stock/{sku}`."""
        found: StockViewAnswer = await self.call(
            "GET",
            "/api/stock/{sku}",
            StockViewAnswer,
            places={"sku": sku},
            query={"as_of": as_of, "limit": limit, "after": after},
            deadline_s=deadline_s,
        )
        return found

    async def patch_stock(
        self,
        sku: str,
        body: StockPatchBody | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> StockSettingsAnswer:
        """Set how a product may be sold out, and when it counts as low: `PATCH /api/stock/{sku}`."""
        found: StockSettingsAnswer = await self.call(
            "PATCH",
            "/api/stock/{sku}",
            StockSettingsAnswer,
            places={"sku": sku},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found
