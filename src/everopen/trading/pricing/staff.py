"""What staff do with promotions and coupons, and with what holds for all prices: look at it, change it, end it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from everopen.base.ids import uuid7
from everopen.store import Primary
from everopen.store.primary import Connection
from everopen.trading.orders import KeyReused
from everopen.trading.pricing.changes import Changed, Done, Key, Missing, change
from everopen.trading.pricing.promotions import Rule
from everopen.trading.pricing.rules import SQL, Promotion, Terms


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


class NoPromotion(msgspec.Struct, frozen=True):
    """A coupon names a promotion that isn't there."""

    id: UUID


class LimitPassed(msgspec.Struct, frozen=True):
    """More orders use the coupon than its new limit would allow: in all, or of one customer."""

    code: str
    used: int
    limit: int
    by_one_customer: bool = False


# --- what holds for all prices


async def find_terms(primary: Primary) -> tuple[Terms, int]:
    """The terms, and the version of all rules."""
    row: Any = await primary.run(lambda connection: connection.fetchrow(SQL["find_terms"]))
    values = dict(row)
    version = values.pop("version")
    return Terms(**values), version


async def set_terms(primary: Primary, terms: Terms, key: Key) -> Changed | KeyReused:
    """Changes what holds for all prices."""

    async def work(connection: Connection, _version: int) -> Done:
        values = msgspec.structs.astuple(terms)
        await connection.execute(SQL["set_terms"], *values)
        return Done(", ".join(f"{name}: {value}" for name, value in msgspec.structs.asdict(terms).items()))

    return await change(primary, "pricing-terms", key, work)


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

    async def work(connection: Connection, version: int) -> Done:
        await connection.execute(SQL["add_promotion"], promotion.id, version, *_columns(promotion))
        return Done(promotion.label, promotion.id)

    return await change(primary, "promotion", key, work)


async def set_promotion(primary: Primary, promotion: Promotion, key: Key) -> Changed | Missing | KeyReused:
    """Replaces a promotion. Orders that have it keep what it gave them."""

    async def work(connection: Connection, version: int) -> Done | Missing:
        if not await connection.fetchval(SQL["set_promotion"], promotion.id, version, *_columns(promotion)):
            return Missing()
        return Done(promotion.label, promotion.id)

    return await change(primary, "promotion-change", key, work)


async def end_promotion(primary: Primary, promotion_id: UUID, key: Key) -> Changed | Missing | KeyReused:
    """Ends a promotion now."""

    async def work(connection: Connection, version: int) -> Done | Missing:
        if not await connection.fetchval(SQL["end_promotion"], promotion_id, version):
            return Missing()
        return Done("ended", promotion_id)

    return await change(primary, "promotion-end", key, work)


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

    async def work(connection: Connection, version: int) -> Done | NoPromotion | LimitPassed:
        unknown = await connection.fetchval(
            SQL["unknown_promotions"], list({coupon.promotion_id for coupon in coupons})
        )
        if unknown is not None:
            return NoPromotion(unknown)
        wanted = {coupon.code: coupon for coupon in coupons}
        for code, used in await connection.fetch(SQL["lock_coupons"], list(wanted)):
            limit, each = wanted[code].limit_total, wanted[code].limit_per_customer
            if limit is not None and limit < used:
                return LimitPassed(code, used, limit)
            if each is not None and each < used:
                most = await connection.fetchval(SQL["most_uses"], code)
                if each < most:
                    return LimitPassed(code, most, each, by_one_customer=True)
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
        return Done(f"{counts[0]} added, {counts[1]} updated", None, counts)

    return await change(primary, "coupons", key, work)


async def end_coupon(primary: Primary, code: str, key: Key) -> Changed | Missing | KeyReused:
    """Ends a coupon now. Orders that use it keep what it gave them."""

    async def work(connection: Connection, version: int) -> Done | Missing:
        found = await connection.fetchval(SQL["end_coupon"], code, version)
        return Missing() if found is None else Done(f"{code} ended", found)

    return await change(primary, "coupon-end", key, work)
