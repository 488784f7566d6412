"""Promotions and coupons, and what holds for all prices: what staff set. (Tax rates and shipping methods: `tax_shipping.py`.)"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from everopen.api.catalogue import replay_header, within_batch
from everopen.api.cursors import cut, page_parameters, read_page
from everopen.api.hot import fingerprint
from everopen.api.problems import Refusal
from everopen.api.routes import Answer, Call, Parameter, Route
from everopen.api.shapes_pricing import (
    CODE_PATTERN,
    CouponAnswer,
    CouponBody,
    CouponsAnswer,
    CouponsBody,
    CouponsChangedAnswer,
    PromotionAnswer,
    PromotionBody,
    PromotionsAnswer,
    TermsAnswer,
    TermsBody,
)
from everopen.api.shop import Shop
from everopen.base.ids import uuid7
from everopen.base.money import EXPONENTS
from everopen.trading.pricing import staff
from everopen.trading.pricing.changes import Changed, Key, Missing
from everopen.trading.pricing.engine import normal_code
from everopen.trading.pricing.promotions import BuyGet
from everopen.trading.pricing.rules import Promotion, Terms

T = TypeVar("T")
CODE_MAX = 40


# --- what all of them share


def key_of(call: Call, *meaning: Any) -> Key:
    """The request's key, with the fingerprint of what it asks for and where."""
    return Key(call.key, fingerprint(call.path, *meaning))


def shown(kind: type[T], known: Any) -> T:
    """What trading knows, as the answer says it."""
    return msgspec.convert(known, kind, from_attributes=True)


def made(outcome: object, what: str) -> Changed:
    """The change; raises a `Refusal` for what kept it from being made."""
    if isinstance(outcome, Changed):
        return outcome
    if isinstance(outcome, Missing):
        raise Refusal("not-found", f"There is no such {what}.")
    if isinstance(outcome, staff.NoPromotion):
        raise Refusal("bad-input", f"There is no promotion {outcome.id}.")
    if isinstance(outcome, staff.LimitPassed):
        whose = "orders of one customer" if outcome.by_one_customer else "orders"
        raise Refusal(
            "conflict",
            f"{outcome.used:,} {whose} use the coupon “{outcome.code}” already; {outcome.limit:,} are fewer.",
        )
    raise Refusal("key-reused", "This `Idempotency-Key` was used for another request.")


def found_or_404(found: T | None, what: str) -> T:
    """What was looked for; raises a 404 `Refusal` when it isn't there."""
    if found is None:
        raise Refusal("not-found", f"There is no such {what}.")
    return found


def id_of(call: Call, what: str) -> UUID:
    """The id in the path. Raises a 404 `Refusal` for what can't be one."""
    try:
        return UUID(call.parameters["id"])
    except ValueError:
        raise Refusal("not-found", f"There is no such {what}.") from None


def flag(call: Call, name: str) -> bool:
    """A parameter that is true or false. Raises a 422 `Refusal`."""
    text = call.parameters.get(name, "false")
    if text not in ("true", "false"):
        raise Refusal("bad-input", f"`{name}` must be `true` or `false`.")
    return text == "true"


def require_currency(currency: str) -> None:
    """Raises a 422 `Refusal` for what is no currency."""
    if currency not in EXPONENTS:
        raise Refusal("bad-input", f"`currency`: “{currency}” is no currency in use.")


def span(
    starts_at: datetime | None, ends_at: datetime | None, where: str = ""
) -> tuple[datetime | None, datetime | None]:
    """Both times in UTC. Raises a 422 `Refusal` when nothing lies between them."""
    try:
        start, end = (None if time is None else time.astimezone(UTC) for time in (starts_at, ends_at))
    except OverflowError:
        raise Refusal(
            "bad-input", f"`{where}starts_at` or `{where}ends_at` is a time that no calendar here has."
        ) from None
    if start is not None and end is not None and start >= end:
        raise Refusal("bad-input", f"`{where}ends_at` must be after `{where}starts_at`.")
    return start, end


# --- what holds for all prices


async def get_terms(shop: Shop, _call: Call) -> Answer:
    """What holds for all prices."""
    terms, version = await staff.find_terms(shop.primary)
    return Answer(TermsAnswer(**msgspec.structs.asdict(terms), version=version))


async def put_terms(shop: Shop, call: Call) -> Answer:
    """Changes what holds for all prices. Orders keep what they were placed with."""
    terms = Terms(**msgspec.structs.asdict(call.body))
    outcome = made(await staff.set_terms(shop.primary, terms, key_of(call, call.body)), "shop")
    return (await get_terms(shop, call))._replace(headers=replay_header(outcome.replayed))


# --- promotions


def promotion_of(body: PromotionBody, promotion_id: UUID) -> Promotion:
    """A promotion that makes sense. Raises a 422 `Refusal`."""
    if body.currency is not None:
        require_currency(body.currency)
    elif body.min_value or body.rule.has_amount:
        raise Refusal("bad-input", "`currency` is missing: the promotion names an amount of money.")
    rule = body.rule
    if isinstance(rule, BuyGet) and rule.reward is not None and rule.target.everything:
        raise Refusal(
            "bad-input", "`rule.target` reaches everything, so there is nothing else to be the `reward`."
        )
    starts_at, ends_at = span(body.starts_at, body.ends_at)
    return Promotion(
        id=promotion_id,
        label=body.label,
        rule=rule,
        currency=body.currency,
        min_value=body.min_value,
        starts_at=starts_at,
        ends_at=ends_at,
        priority=body.priority,
        exclusive=body.exclusive,
        coupon_only=body.coupon_only,
    )


async def list_promotions(shop: Shop, call: Call) -> Answer:
    """A page of promotions, newest first."""
    limit, after = read_page(call, "promotions", tuple[UUID])
    found = await staff.list_promotions(
        shop.primary, limit=limit + 1, before=after[0] if after else None, ended=flag(call, "ended")
    )
    page, following = cut(found, limit, "promotions", lambda promotion: (promotion.id,))
    return Answer(PromotionsAnswer([shown(PromotionAnswer, promotion) for promotion in page], following))


async def _promotion(shop: Shop, promotion_id: UUID) -> PromotionAnswer:
    found = await staff.find_promotion(shop.primary, promotion_id)
    return shown(PromotionAnswer, found_or_404(found, "promotion"))


async def get_promotion(shop: Shop, call: Call) -> Answer:
    """One promotion."""
    return Answer(await _promotion(shop, id_of(call, "promotion")))


async def add_promotion(shop: Shop, call: Call) -> Answer:
    """Adds a promotion; it counts from its time on for every basket that is priced from now on."""
    promotion = promotion_of(call.body, uuid7())
    outcome = made(await staff.add_promotion(shop.primary, promotion, key_of(call, call.body)), "promotion")
    return Answer(await _promotion(shop, outcome.id or promotion.id), replay_header(outcome.replayed))


async def put_promotion(shop: Shop, call: Call) -> Answer:
    """Replaces a promotion; one that was ended begins again."""
    promotion = promotion_of(call.body, id_of(call, "promotion"))
    outcome = made(await staff.set_promotion(shop.primary, promotion, key_of(call, call.body)), "promotion")
    return Answer(await _promotion(shop, promotion.id), replay_header(outcome.replayed))


async def end_promotion(shop: Shop, call: Call) -> Answer:
    """Ends a promotion and with it its coupons; orders keep what it gave them."""
    promotion_id = id_of(call, "promotion")
    outcome = made(await staff.end_promotion(shop.primary, promotion_id, key_of(call, "end")), "promotion")
    return Answer(await _promotion(shop, promotion_id), replay_header(outcome.replayed))


# --- coupons


def coupons_of(bodies: Iterable[CouponBody]) -> list[staff.KnownCoupon]:
    """Coupons by their normal codes. Raises a 422 `Refusal` for a code that comes twice."""
    found: dict[str, staff.KnownCoupon] = {}
    for index, body in enumerate(bodies):
        code = normal_code(body.code)
        if code in found:
            raise Refusal("bad-input", f"`coupons[{index}].code`: “{code}” is in the batch twice.")
        starts_at, ends_at = span(body.starts_at, body.ends_at, f"coupons[{index}].")
        found[code] = staff.KnownCoupon(
            code=code,
            promotion_id=body.promotion_id,
            limit_total=body.limit_total,
            limit_per_customer=body.limit_per_customer,
            starts_at=starts_at,
            ends_at=ends_at,
        )
    return list(found.values())


def code_of(call: Call) -> str:
    """The code in the path, normal. Raises a 404 `Refusal` for what can't be one."""
    code = call.parameters["code"]
    if not re.fullmatch(CODE_PATTERN, code):
        raise Refusal("not-found", "There is no such coupon.")
    return normal_code(code)


async def list_coupons(shop: Shop, call: Call) -> Answer:
    """A page of coupons in the order of their codes."""
    limit, after = read_page(call, "coupons", tuple[str])
    text = call.parameters.get("promotion")
    try:
        promotion_id = None if text is None else UUID(text)
    except ValueError:
        raise Refusal("bad-input", "`promotion` must be the id of a promotion.") from None
    found = await staff.list_coupons(
        shop.primary,
        limit=limit + 1,
        after=after[0] if after else None,
        promotion_id=promotion_id,
        ended=flag(call, "ended"),
    )
    page, following = cut(found, limit, "coupons", lambda coupon: (coupon.code,))
    return Answer(CouponsAnswer([shown(CouponAnswer, coupon) for coupon in page], following))


async def _coupon(shop: Shop, code: str) -> CouponAnswer:
    return shown(CouponAnswer, found_or_404(await staff.find_coupon(shop.primary, code), "coupon"))


async def get_coupon(shop: Shop, call: Call) -> Answer:
    """One coupon with how often it is used."""
    return Answer(await _coupon(shop, code_of(call)))


async def put_coupons(shop: Shop, call: Call) -> Answer:
    """Adds or replaces coupons."""
    body: CouponsBody = call.body
    within_batch(shop, "coupons", len(body.coupons))
    coupons = coupons_of(body.coupons)
    outcome = made(await staff.put_coupons(shop.primary, coupons, key_of(call, coupons)), "coupon")
    return Answer(CouponsChangedAnswer(outcome.added, outcome.updated), replay_header(outcome.replayed))


async def end_coupon(shop: Shop, call: Call) -> Answer:
    """Ends a coupon; orders keep what it gave them."""
    code = code_of(call)
    outcome = made(await staff.end_coupon(shop.primary, code, key_of(call, "end")), "coupon")
    return Answer(await _coupon(shop, code), replay_header(outcome.replayed))


ENDED = Parameter("ended", "`true`: also those that staff ended.", choices=("true", "false"))
_PROMOTION = Parameter("id", "The promotion.", "path")
_COUPON = Parameter("code", "The coupon; capitals are the same.", "path", pattern=CODE_PATTERN)
WRITE = "promotions:write"

# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("GET", "/api/pricing-terms", "getPricingTerms", "What holds for all prices", get_terms, TermsAnswer, scope=WRITE),
    Route("PUT", "/api/pricing-terms", "putPricingTerms", "Change what holds for all prices", put_terms, TermsAnswer, TermsBody,
          scope=WRITE, keyed=True),
    Route("GET", "/api/promotions", "listPromotions", "A page of promotions, newest first", list_promotions, PromotionsAnswer,
          parameters=(*page_parameters(), ENDED), scope=WRITE),
    Route("POST", "/api/promotions", "addPromotion", "Add a promotion", add_promotion, PromotionAnswer, PromotionBody, 201,
          scope=WRITE, keyed=True),
    Route("GET", "/api/promotions/{id}", "getPromotion", "One promotion", get_promotion, PromotionAnswer,
          refusals=("not-found",), parameters=(_PROMOTION,), scope=WRITE),
    Route("PUT", "/api/promotions/{id}", "putPromotion", "Replace a promotion", put_promotion, PromotionAnswer, PromotionBody,
          refusals=("not-found",), parameters=(_PROMOTION,), scope=WRITE, keyed=True),
    Route("DELETE", "/api/promotions/{id}", "endPromotion", "End a promotion and its coupons", end_promotion, PromotionAnswer,
          refusals=("not-found",), parameters=(_PROMOTION,), scope=WRITE, keyed=True),
    Route("GET", "/api/coupons", "listCoupons", "A page of coupons by code", list_coupons, CouponsAnswer,
          parameters=(*page_parameters(), ENDED, Parameter("promotion", "Only those of this promotion.")), scope=WRITE),
    Route("PUT", "/api/coupons", "putCoupons", "Add or replace coupons", put_coupons, CouponsChangedAnswer, CouponsBody,
          refusals=("conflict",), scope=WRITE, keyed=True, batch=True),
    Route("GET", "/api/coupons/{code}", "getCoupon", "One coupon with how often it is used", get_coupon, CouponAnswer,
          refusals=("not-found",), parameters=(_COUPON,), scope=WRITE),
    Route("DELETE", "/api/coupons/{code}", "endCoupon", "End a coupon", end_coupon, CouponAnswer,
          refusals=("not-found",), parameters=(_COUPON,), scope=WRITE, keyed=True),
)
# fmt: on
