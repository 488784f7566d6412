"""Calls of `pricing`. Made by tools/make_client.py from the table of calls; not changed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from everopen.api.shapes_pricing import (
    CouponAnswer,
    CouponsAnswer,
    CouponsBody,
    CouponsChangedAnswer,
    PromotionAnswer,
    PromotionBody,
    PromotionsAnswer,
    TermsAnswer,
    TermsBody,
)
from everopen.client.caller import Caller


class PricingCalls(Caller):
    """Calls of `pricing`."""

    async def get_pricing_terms(self, *, deadline_s: float | None = None) -> TermsAnswer:
        """What holds for all prices: `GET /api/pricing-terms`."""
        found: TermsAnswer = await self.call("GET", "/api/pricing-terms", TermsAnswer, deadline_s=deadline_s)
        return found

    async def put_pricing_terms(
        self, body: TermsBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> TermsAnswer:
        """Change what holds for all prices: `PUT /api/pricing-terms`."""
        found: TermsAnswer = await self.call(
            "PUT", "/api/pricing-terms", TermsAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def list_promotions(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        ended: str | None = None,
        deadline_s: float | None = None,
    ) -> PromotionsAnswer:
        """A page of promotions, newest first: `GET /api/promotions`."""
        found: PromotionsAnswer = await self.call(
            "GET",
            "/api/promotions",
            PromotionsAnswer,
            query={"limit": limit, "after": after, "ended": ended},
            deadline_s=deadline_s,
        )
        return found

    async def each_promotions(
        self, *, limit: int | None = None, ended: str | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[PromotionAnswer]:
        """A page of promotions, newest first, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_promotions(limit=limit, ended=ended, deadline_s=deadline_s, after=after)
            for entry in page.promotions:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def add_promotion(
        self, body: PromotionBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> PromotionAnswer:
        """Add a promotion: `POST /api/promotions`."""
        found: PromotionAnswer = await self.call(
            "POST", "/api/promotions", PromotionAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_promotion(self, id: str | UUID, *, deadline_s: float | None = None) -> PromotionAnswer:
        """One promotion: `GET /api/promotions/{id}`."""
        found: PromotionAnswer = await self.call(
            "GET", "/api/promotions/{id}", PromotionAnswer, places={"id": id}, deadline_s=deadline_s
        )
        return found

    async def put_promotion(
        self, id: str | UUID, body: PromotionBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> PromotionAnswer:
        """Replace a promotion: `PUT /api/promotions/{id}`."""
        found: PromotionAnswer = await self.call(
            "PUT",
            "/api/promotions/{id}",
            PromotionAnswer,
            places={"id": id},
            body=body,
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def end_promotion(
        self, id: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> PromotionAnswer:
        """End a promotion and its coupons: `DELETE /api/promotions/{id}`."""
        found: PromotionAnswer = await self.call(
            "DELETE",
            "/api/promotions/{id}",
            PromotionAnswer,
            places={"id": id},
            key=key,
            deadline_s=deadline_s,
        )
        return found

    async def list_coupons(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        ended: str | None = None,
        promotion: str | None = None,
        deadline_s: float | None = None,
    ) -> CouponsAnswer:
        """A page of coupons by code: `GET /api/coupons`."""
        found: CouponsAnswer = await self.call(
            "GET",
            "/api/coupons",
            CouponsAnswer,
            query={"limit": limit, "after": after, "ended": ended, "promotion": promotion},
            deadline_s=deadline_s,
        )
        return found

    async def each_coupons(
        self,
        *,
        limit: int | None = None,
        ended: str | None = None,
        promotion: str | None = None,
        deadline_s: float | None = None,
    ) -> AsyncIterator[CouponAnswer]:
        """A page of coupons by code, and all pages after it."""
        after: str | None = None
        while True:
            page = await self.list_coupons(
                limit=limit, ended=ended, promotion=promotion, deadline_s=deadline_s, after=after
            )
            for entry in page.coupons:
                yield entry
            if page.next is None:
                return
            after = page.next

    async def put_coupons(
        self, body: CouponsBody, *, key: str | None = None, deadline_s: float | None = None
    ) -> CouponsChangedAnswer:
        """Add or replace coupons: `PUT /api/coupons`."""
        found: CouponsChangedAnswer = await self.call(
            "PUT", "/api/coupons", CouponsChangedAnswer, body=body, key=key, deadline_s=deadline_s
        )
        return found

    async def get_coupon(self, code: str | UUID, *, deadline_s: float | None = None) -> CouponAnswer:
        """One coupon with how often it is used: `GET /api/coupons/{code}`."""
        found: CouponAnswer = await self.call(
            "GET", "/api/coupons/{code}", CouponAnswer, places={"code": code}, deadline_s=deadline_s
        )
        return found

    async def end_coupon(
        self, code: str | UUID, *, key: str | None = None, deadline_s: float | None = None
    ) -> CouponAnswer:
        """End a coupon: `DELETE /api/coupons/{code}`."""
        found: CouponAnswer = await self.call(
            "DELETE",
            "/api/coupons/{code}",
            CouponAnswer,
            places={"code": code},
            key=key,
            deadline_s=deadline_s,
        )
        return found
