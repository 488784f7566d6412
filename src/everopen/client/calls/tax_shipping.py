"""Calls of `tax_shipping`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from uuid import UUID

from everopen.api.shapes_pricing import (
    ShippingMethodAnswer,
    ShippingMethodBody,
    ShippingMethodsAnswer,
    TaxRateAnswer,
    TaxRateBody,
    TaxRatesAnswer,
)
from everopen.client.caller import Caller


class TaxShippingCalls(Caller):
    """Calls of `tax_shipping`."""

    async def list_tax_rates(
        self, *, country: str | None = None, ended: str | None = None, deadline_s: float | None = None
    ) -> TaxRatesAnswer:
        """Tax rates: `GET /api/tax-rates`."""
        found: TaxRatesAnswer = await self.call(
            "GET",
            "/api/tax-rates",
            TaxRatesAnswer,
            query={"country": country, "ended": ended},
            deadline_s=deadline_s,
        )
        return found

    async def add_tax_rate(
        self, body: TaxRateBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> TaxRateAnswer:
        """Add a tax rate: `POST /api/tax-rates`."""
        found: TaxRateAnswer = await self.call(
            "POST", "/api/tax-rates", TaxRateAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_tax_rate(self, id: str | UUID, *, deadline_s: float | None = None) -> TaxRateAnswer:
        """One tax rate: `GET /api/tax-rates/{id}`."""
        found: TaxRateAnswer = await self.call(
            "GET", "/api/tax-rates/{id}", TaxRateAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def put_tax_rate(
        self, id: str | UUID, body: TaxRateBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> TaxRateAnswer:
        """Replace a tax rate: `PUT /api/tax-rates/{id}`."""
        found: TaxRateAnswer = await self.call(
            "PUT",
            "/api/tax-rates/{id}",
            TaxRateAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def end_tax_rate(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> TaxRateAnswer:
        """End a tax rate: `DELETE /api/tax-rates/{id}`."""
        found: TaxRateAnswer = await self.call(
            "DELETE", "/api/tax-rates/{id}", TaxRateAnswer, places={"id": id}, key=key, deadline_s=deadline_s
        )
        return found

    async def list_shipping_methods(
        self, *, country: str | None = None, deadline_s: float | None = None
    ) -> ShippingMethodsAnswer:
        """The ways to send goods: `GET /api/shipping-methods`."""
        found: ShippingMethodsAnswer = await self.call(
            "GET",
            "/api/shipping-methods",
            ShippingMethodsAnswer,
            query={"country": country},
            deadline_s=deadline_s,
        )
        return found

    async def get_shipping_method(
        self, code: str | UUID, *, deadline_s: float | None = None
    ) -> ShippingMethodAnswer:
        """One way to send goods: `GET /api/shipping-methods/{code}`."""
        found: ShippingMethodAnswer = await self.call(
            "GET",
            "/api/shipping-methods/{code}",
            ShippingMethodAnswer,
            places={"code": code},
            deadline_s=deadline_s,
        )
        return found

    async def put_shipping_method(
        self,
        code: str | UUID,
        body: ShippingMethodBody,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> ShippingMethodAnswer:
        """Add or replace a shipping method: `PUT /api/shipping-methods/{code}`."""
        found: ShippingMethodAnswer = await self.call(
            "PUT",
            "/api/shipping-methods/{code}",
            ShippingMethodAnswer,
            places={"code": code},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def end_shipping_method(
        self, code: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> ShippingMethodAnswer:
        """End a shipping method: `DELETE /api/shipping-methods/{code}`."""
        found: ShippingMethodAnswer = await self.call(
            "DELETE",
            "/api/shipping-methods/{code}",
            ShippingMethodAnswer,
            places={"code": code},
            key=key,
            deadline_s=deadline_s,
        )
        return found
