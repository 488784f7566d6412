"""What staff do with tax rates and shipping methods: look at them, change them, end them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from everopen.store import Primary
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.pricing.changes import Changed, Done, Key, Missing, change
from everopen.trading.pricing.rules import SQL, ShippingMethod, ShippingStep, TaxRate


class KnownTaxRate(TaxRate, frozen=True, kw_only=True):
    """A tax rate as staff see it."""

    id: UUID
    ended_at: datetime | None = None


class KnownShippingMethod(ShippingMethod, frozen=True, kw_only=True):
    """A shipping method as staff see it."""

    ended_at: datetime | None = None


# --- tax rates


async def list_tax_rates(
    primary: Primary, *, country: str | None = None, ended: bool = False
) -> list[KnownTaxRate]:
    """The tax rates of a country, or of all."""
    rows = await primary.run(lambda connection: connection.fetch(SQL["list_tax_rates"], country, ended))
    return [KnownTaxRate(**dict(row)) for row in rows]


async def find_tax_rate(primary: Primary, rate_id: UUID) -> KnownTaxRate | None:
    """One tax rate."""
    row = await primary.run(lambda connection: connection.fetchrow(SQL["find_tax_rate"], rate_id))
    return None if row is None else KnownTaxRate(**dict(row))


def _rate_detail(rate: TaxRate) -> str:
    return f"{rate.country} {rate.tax_category}: {rate.rate_bp} bp"


async def add_tax_rate(primary: Primary, rate_id: UUID, rate: TaxRate, key: Key) -> Changed | KeyReused:
    """Adds a tax rate. A replay answers with the id that the first request took."""

    async def work(connection: Connection, version: int) -> Done:
        await connection.execute(SQL["add_tax_rate"], rate_id, version, *msgspec.structs.astuple(rate))
        return Done(_rate_detail(rate), rate_id)

    return await change(primary, "tax-rate", key, work)


async def set_tax_rate(
    primary: Primary, rate_id: UUID, rate: TaxRate, key: Key
) -> Changed | Missing | KeyReused:
    """Replaces a tax rate. Orders keep the rate that they were placed with."""

    async def work(connection: Connection, version: int) -> Done | Missing:
        if not await connection.fetchval(
            SQL["set_tax_rate"], rate_id, version, *msgspec.structs.astuple(rate)
        ):
            return Missing()
        return Done(_rate_detail(rate), rate_id)

    return await change(primary, "tax-rate-change", key, work)


async def end_tax_rate(primary: Primary, rate_id: UUID, key: Key) -> Changed | Missing | KeyReused:
    """Ends a tax rate now."""

    async def work(connection: Connection, version: int) -> Done | Missing:
        if not await connection.fetchval(SQL["end_tax_rate"], rate_id, version):
            return Missing()
        return Done("ended", rate_id)

    return await change(primary, "tax-rate-end", key, work)


# --- shipping methods


def _method(row: Any) -> KnownShippingMethod:
    values = dict(row)
    bounds, prices = values.pop("bounds"), values.pop("prices")
    steps = tuple(ShippingStep(*step) for step in zip(bounds, prices, strict=True))
    return KnownShippingMethod(**{**values, "countries": tuple(values["countries"]), "steps": steps})


async def list_shipping_methods(
    primary: Primary, *, country: str | None = None, ended: bool = False
) -> list[KnownShippingMethod]:
    """The ways to send goods to a country, or all there are."""
    rows = await primary.run(
        lambda connection: connection.fetch(SQL["list_shipping_methods"], country, ended, None)
    )
    return [_method(row) for row in rows]


async def find_shipping_method(primary: Primary, code: str) -> KnownShippingMethod | None:
    """One shipping method, also an ended one."""
    row = await primary.run(
        lambda connection: connection.fetchrow(SQL["list_shipping_methods"], None, True, code)
    )
    return None if row is None else _method(row)


async def put_shipping_method(primary: Primary, method: ShippingMethod, key: Key) -> Changed | KeyReused:
    """Adds or replaces a shipping method with its steps."""

    async def work(connection: Connection, version: int) -> Done:
        await connection.execute(
            SQL["put_shipping_method"],
            method.code,
            version,
            method.label,
            method.currency,
            list(method.countries),
            method.tax_category,
            method.basis,
            method.weight_g_max,
        )
        await connection.execute(SQL["clear_shipping_steps"], method.code)
        await connection.execute(
            SQL["add_shipping_steps"],
            method.code,
            [step.at_least for step in method.steps],
            [step.price for step in method.steps],
        )
        return Done(f"{method.code}: {method.label}")

    return await change(primary, "shipping-method", key, work)


async def end_shipping_method(primary: Primary, code: str, key: Key) -> Changed | Missing | KeyReused:
    """Ends a shipping method now."""

    async def work(connection: Connection, version: int) -> Done | Missing:
        if not await connection.fetchval(SQL["end_shipping_method"], code, version):
            return Missing()
        return Done(f"{code} ended")

    return await change(primary, "shipping-method-end", key, work)
