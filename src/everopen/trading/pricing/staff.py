"""What staff do with the rules: look at them, change them, end them.

Every change is one transaction that holds the lock of the one row of `pricing_rules`, so changes come one after the other;
it moves the version on, writes the audit log and keeps its idempotency key. Orders never take that lock: they are told the
version by whoever priced them, and are refused as stale when it has moved on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from everopen.base.ids import uuid7
from everopen.store import Primary
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.pricing.promotions import Rule
from everopen.trading.pricing.rules import SQL, Promotion, ShippingMethod, ShippingStep, TaxRate, Terms

R = TypeVar("R")


class Key(NamedTuple):
    """A request's idempotency key, with the fingerprint of what it asks for."""

    text: str
    fingerprint: bytes


class KnownPromotion(Promotion, frozen=True, kw_only=True):
    """A promotion as staff see it; `ended_at`: when they took it back."""

    ended_at: datetime | None = None


class KnownCoupon(msgspec.Struct, frozen=True, kw_only=True):
    """A coupon as staff see it, with how many orders use it."""

    code: str
    promotion_id: UUID
    limit_total: int | None = None
    limit_per_customer: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    used: int = 0


class KnownTaxRate(TaxRate, frozen=True, kw_only=True):
    """A tax rate as staff see it."""

    id: UUID
    ended_at: datetime | None = None


class KnownShippingMethod(ShippingMethod, frozen=True, kw_only=True):
    """A shipping method as staff see it."""

    ended_at: datetime | None = None


class Changed(msgspec.Struct, frozen=True):
    """The change was made: what it was about (promotion or tax rate), how many were added and replaced (coupons)."""

    id: UUID | None = None
    added: int = 0
    updated: int = 0
    replayed: bool = False


class Missing(msgspec.Struct, frozen=True):
    """There is nothing of this name to change."""


class NoPromotion(msgspec.Struct, frozen=True):
    """A coupon names a promotion that isn't there."""

    id: UUID


class LimitPassed(msgspec.Struct, frozen=True):
    """More orders use the coupon than its new limit would allow."""

    code: str
    used: int
    limit_total: int


class _Done(NamedTuple):
    detail: str
    id: UUID | None = None
    counts: tuple[int, int] = (0, 0)


async def _change(
    primary: Primary, kind: str, key: Key, work: Callable[[Connection, int], Awaitable[_Done | R]]
) -> Changed | KeyReused | R:
    """Runs a change under the rules' lock with their next version. What isn't done changes nothing."""

    async def attempt(connection: Connection) -> Changed | KeyReused | R:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.fetchval(SQL["lock_rules"])
            known: Any = await connection.fetchrow(SQL["known_pricing_key"], key.text, key.fingerprint, kind)
            if known["code"] == 2:
                await transaction.rollback()
                return KeyReused()
            if known["code"] == 1:
                await (
                    transaction.commit()
                )  # not a rollback: the commit waits until the standby has the first one
                added, updated = known["result"]
                return Changed(known["result_id"], added, updated, replayed=True)
            outcome = await work(connection, await connection.fetchval(SQL["next_version"]))
            if not isinstance(outcome, _Done):
                await transaction.rollback()
                return outcome
            await connection.execute(
                SQL["note_change"],
                key.text,
                key.fingerprint,
                kind,
                outcome.id,
                outcome.detail,
                [*outcome.counts],
            )
            await transaction.commit()
            return Changed(outcome.id, *outcome.counts)
        except BaseException:
            if not connection.is_closed() and connection.is_in_transaction():
                await transaction.rollback()
            raise

    return await primary.run(attempt)


# --- what holds for all prices


async def find_terms(primary: Primary) -> tuple[Terms, int]:
    """The terms, and the version of all rules."""
    row: Any = await primary.run(lambda connection: connection.fetchrow(SQL["find_terms"]))
    values = dict(row)
    version = values.pop("version")
    return Terms(**values), version


async def set_terms(primary: Primary, terms: Terms, key: Key) -> Changed | KeyReused:
    """Changes what holds for all prices."""

    async def work(connection: Connection, _version: int) -> _Done:
        values = msgspec.structs.astuple(terms)
        await connection.execute(SQL["set_terms"], *values)
        return _Done(", ".join(f"{name}: {value}" for name, value in msgspec.structs.asdict(terms).items()))

    return await _change(primary, "pricing-terms", key, work)


# --- promotions


def _promotion(row: Any) -> KnownPromotion:
    values = dict(row)
    return KnownPromotion(**{**values, "rule": msgspec.json.decode(values["rule"], type=Rule)})


async def list_promotions(
    primary: Primary, *, limit: int, before: UUID | None = None, ended: bool = False
) -> list[KnownPromotion]:
    """At most `limit` promotions, newest first, from before the one with the id `before`."""
    rows = await primary.run(
        lambda connection: connection.fetch(SQL["list_promotions"], before, ended, limit)
    )
    return [_promotion(row) for row in rows]


async def find_promotion(primary: Primary, promotion_id: UUID) -> KnownPromotion | None:
    """One promotion."""
    row = await primary.run(lambda connection: connection.fetchrow(SQL["find_promotion"], promotion_id))
    return None if row is None else _promotion(row)


def _columns(promotion: Promotion) -> tuple[Any, ...]:
    return (
        promotion.label,
        msgspec.json.encode(promotion.rule).decode(),
        promotion.currency,
        promotion.min_value,
        promotion.starts_at,
        promotion.ends_at,
        promotion.priority,
        promotion.exclusive,
        promotion.coupon_only,
    )


async def add_promotion(primary: Primary, promotion: Promotion, key: Key) -> Changed | KeyReused:
    """Adds a promotion under its id. A replay answers with the id that the first request took."""

    async def work(connection: Connection, version: int) -> _Done:
        await connection.execute(SQL["add_promotion"], promotion.id, version, *_columns(promotion))
        return _Done(promotion.label, promotion.id)

    return await _change(primary, "promotion", key, work)


async def set_promotion(primary: Primary, promotion: Promotion, key: Key) -> Changed | Missing | KeyReused:
    """Replaces a promotion. Orders that have it keep what it gave them."""

    async def work(connection: Connection, version: int) -> _Done | Missing:
        if not await connection.fetchval(SQL["set_promotion"], promotion.id, version, *_columns(promotion)):
            return Missing()
        return _Done(promotion.label, promotion.id)

    return await _change(primary, "promotion-change", key, work)


async def end_promotion(primary: Primary, promotion_id: UUID, key: Key) -> Changed | Missing | KeyReused:
    """Ends a promotion now."""

    async def work(connection: Connection, version: int) -> _Done | Missing:
        if not await connection.fetchval(SQL["end_promotion"], promotion_id, version):
            return Missing()
        return _Done("ended", promotion_id)

    return await _change(primary, "promotion-end", key, work)


# --- coupons


async def list_coupons(
    primary: Primary,
    *,
    limit: int,
    after: str | None = None,
    promotion_id: UUID | None = None,
    ended: bool = False,
) -> list[KnownCoupon]:
    """At most `limit` coupons, of one promotion or of all, whose code comes after `after`."""
    rows = await primary.run(
        lambda connection: connection.fetch(SQL["list_coupons"], after, ended, promotion_id, limit)
    )
    return [KnownCoupon(**dict(row)) for row in rows]


async def find_coupon(primary: Primary, code: str) -> KnownCoupon | None:
    """One coupon, by its normal code."""
    row = await primary.run(lambda connection: connection.fetchrow(SQL["find_coupon"], code))
    return None if row is None else KnownCoupon(**dict(row))


async def put_coupons(
    primary: Primary, coupons: Sequence[KnownCoupon], key: Key
) -> Changed | NoPromotion | LimitPassed | KeyReused:
    """Adds coupons or replaces what is said about them, all or none. Codes are normal, and each comes once."""

    async def work(connection: Connection, version: int) -> _Done | NoPromotion | LimitPassed:
        unknown = await connection.fetchval(
            SQL["unknown_promotions"], list({coupon.promotion_id for coupon in coupons})
        )
        if unknown is not None:
            return NoPromotion(unknown)
        limits = {coupon.code: coupon.limit_total for coupon in coupons}
        for code, used in await connection.fetch(SQL["lock_coupons"], list(limits)):
            limit = limits[code]
            if limit is not None and limit < used:
                return LimitPassed(code, used, limit)
        row: Any = await connection.fetchrow(
            SQL["put_coupons"],
            version,
            [uuid7() for _ in coupons],
            [coupon.code for coupon in coupons],
            [coupon.promotion_id for coupon in coupons],
            [coupon.limit_total for coupon in coupons],
            [coupon.limit_per_customer for coupon in coupons],
            [coupon.starts_at for coupon in coupons],
            [coupon.ends_at for coupon in coupons],
        )
        counts = row["added"], row["updated"]
        return _Done(f"{counts[0]} added, {counts[1]} updated", None, counts)

    return await _change(primary, "coupons", key, work)


async def end_coupon(primary: Primary, code: str, key: Key) -> Changed | Missing | KeyReused:
    """Ends a coupon now. Orders that use it keep what it gave them."""

    async def work(connection: Connection, version: int) -> _Done | Missing:
        found = await connection.fetchval(SQL["end_coupon"], code, version)
        return Missing() if found is None else _Done(f"{code} ended", found)

    return await _change(primary, "coupon-end", key, work)


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

    async def work(connection: Connection, version: int) -> _Done:
        await connection.execute(SQL["add_tax_rate"], rate_id, version, *msgspec.structs.astuple(rate))
        return _Done(_rate_detail(rate), rate_id)

    return await _change(primary, "tax-rate", key, work)


async def set_tax_rate(
    primary: Primary, rate_id: UUID, rate: TaxRate, key: Key
) -> Changed | Missing | KeyReused:
    """Replaces a tax rate. Orders keep the rate that they were placed with."""

    async def work(connection: Connection, version: int) -> _Done | Missing:
        if not await connection.fetchval(
            SQL["set_tax_rate"], rate_id, version, *msgspec.structs.astuple(rate)
        ):
            return Missing()
        return _Done(_rate_detail(rate), rate_id)

    return await _change(primary, "tax-rate-change", key, work)


async def end_tax_rate(primary: Primary, rate_id: UUID, key: Key) -> Changed | Missing | KeyReused:
    """Ends a tax rate now."""

    async def work(connection: Connection, version: int) -> _Done | Missing:
        if not await connection.fetchval(SQL["end_tax_rate"], rate_id, version):
            return Missing()
        return _Done("ended", rate_id)

    return await _change(primary, "tax-rate-end", key, work)


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

    async def work(connection: Connection, version: int) -> _Done:
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
        return _Done(f"{method.code}: {method.label}")

    return await _change(primary, "shipping-method", key, work)


async def end_shipping_method(primary: Primary, code: str, key: Key) -> Changed | Missing | KeyReused:
    """Ends a shipping method now."""

    async def work(connection: Connection, version: int) -> _Done | Missing:
        if not await connection.fetchval(SQL["end_shipping_method"], code, version):
            return Missing()
        return _Done(f"{code} ended")

    return await _change(primary, "shipping-method-end", key, work)
