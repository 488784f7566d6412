"""What a basket costs: a function of the basket, the rules and the time, and of nothing else.

Promotions are applied once, in one pass by priority; each works on what the ones before it left to pay. (Trying all
combinations for the cheapest was turned down: it is exponential, and nobody could say beforehand what an order costs.)
Every line is looked at a fixed number of times per promotion that reaches it, and an index finds those: a thousand
promotions on other products cost nothing. Inside, lines stand in an order of their own, so that the order in which they
were put into the cart decides nothing, not even who bears the odd penny.

Rounding: each percentage once on the sum that it is taken of, each tax once per line and once for shipping, to the nearest
minor unit, halves as `Terms.rounding` says. What comes off several lines is shared out by largest remainder."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from everopen.trading.pricing.arithmetic import WHOLE_BP, Rounding, divide
from everopen.trading.pricing.promotions import Pool
from everopen.trading.pricing.quote import Applied, Basket, BasketLine, Quote, QuotedLine, Refused
from everopen.trading.pricing.rules import STANDARD, Coupon, Promotion, Rules, ShippingMethod, within


def price(basket: Basket, rules: Rules, at: datetime) -> Quote | Refused:
    """Prices a basket. `at` is an aware time: that of the order."""
    goods = sum([line.quantity * line.unit_price for line in basket.lines])
    coupons = held_coupons(basket, rules, at)
    if isinstance(coupons, Refused):
        return coupons
    country = basket.country or rules.terms.home_country
    shipped = choose_shipping(basket, rules, country, goods)
    if isinstance(shipped, Refused):
        return shipped
    method, shipping = shipped

    order = sorted(range(len(basket.lines)), key=lambda place: _canonical(basket.lines[place]))
    lines = [basket.lines[place] for place in order]
    pool = Pool(lines, rules.terms.rounding, None if method is None else method.code, shipping)
    applied = _promote(pool, basket.currency, goods, coupons, rules, at)

    included, rounding = rules.terms.prices_include_tax, rules.terms.rounding
    rates: dict[str, int] = {}

    def rate_bp_of(category: str) -> int:
        if category not in rates:
            rates[category] = rate_of(rules, country, category, at)
        return rates[category]

    quoted: list[QuotedLine] = [_NO_LINE] * len(lines)
    tax = 0
    for place, line, left in zip(order, lines, pool.left, strict=True):
        rate_bp = rate_bp_of(line.tax_category or STANDARD)
        line_tax = tax_of(left, rate_bp, included, rounding)
        tax += line_tax
        quoted[place] = QuotedLine(
            line.sku,
            line.quantity,
            line.unit_price,
            line.quantity * line.unit_price - left,
            line_tax,
            rate_bp,
        )
    shipping_tax = 0
    if method is not None:
        shipping_tax = tax_of(pool.shipping, rate_bp_of(method.tax_category), included, rounding)
    tax += shipping_tax
    discount = goods - sum(pool.left)
    tax_added = not included
    by_promotion = {coupon.promotion_id: coupon.id for coupon in coupons}
    return Quote(
        currency=basket.currency,
        lines=tuple(quoted),
        goods=goods,
        discount=discount,
        shipping=pool.shipping,
        shipping_tax=shipping_tax,
        tax=tax,
        tax_added=tax_added,
        total=goods - discount + pool.shipping + (tax if tax_added else 0),
        applied=tuple(applied),
        coupons=tuple(
            by_promotion[gift.promotion_id] for gift in applied if gift.promotion_id in by_promotion
        ),
        shipping_method=None if method is None else method.code,
        rules_version=rules.version,
    )


_NO_LINE = QuotedLine("", 0, 0)


def _canonical(line: BasketLine) -> tuple[str, int, int, str, str, int]:
    return (
        line.sku,
        line.unit_price,
        line.quantity,
        line.category or "",
        line.tax_category or "",
        line.weight_g or 0,
    )


def held_coupons(basket: Basket, rules: Rules, at: datetime) -> list[Coupon] | Refused:
    """The coupons of the basket, one per promotion, in the order of their codes."""
    if not basket.coupons:
        return []
    found: dict[UUID, Coupon] = {}
    for code in sorted({normal_code(typed) for typed in basket.coupons}):
        coupon = rules.coupons.get(code)
        if coupon is None or (coupon.starts_at is not None and at < coupon.starts_at):
            return Refused("unknown-coupon", f"There is no coupon “{code[:40]}”.")
        place = rules.index.promotions.get(coupon.promotion_id)
        promotion = None if place is None else rules.promotions[place]
        if (
            coupon.ended
            or promotion is None
            or not within(at, coupon.starts_at, coupon.ends_at)
            or not within(at, promotion.starts_at, promotion.ends_at)
        ):
            return Refused("coupon-expired", f"The coupon “{code[:40]}” isn't valid now.")
        found.setdefault(coupon.promotion_id, coupon)
    return list(found.values())


def normal_code(typed: str) -> str:
    """A coupon's code as it is stored: capitals, without blanks around it."""
    return typed.strip().upper()


def choose_shipping(
    basket: Basket, rules: Rules, country: str | None, goods: int
) -> tuple[ShippingMethod | None, int] | Refused:
    """The method that the basket names and its price before promotions."""
    if basket.shipping_method is None:
        needed = rules.terms.shipping_required and rules.shipping_methods
        if needed and any(line.weight_g != 0 for line in basket.lines):
            return Refused("no-shipping-method", "Choose how the order is to be sent.")
        return None, 0
    method = rules.index.shipping.get(basket.shipping_method)
    if method is None:
        return Refused("no-shipping-method", f"There is no shipping method “{basket.shipping_method[:40]}”.")
    weight_g = sum([line.quantity * (line.weight_g or 0) for line in basket.lines])
    if method.currency != basket.currency:
        return Refused("not-shippable", f"{method.label} isn't offered for prices in {basket.currency}.")
    if not method.serves(country):
        where = f"to {country}" if country else "without a country"
        return Refused("not-shippable", f"{method.label} doesn't send {where}.")
    if method.weight_g_max is not None and weight_g > method.weight_g_max:
        return Refused(
            "not-shippable", f"{method.label} takes {method.weight_g_max:,} g; this is {weight_g:,} g."
        )
    amount = method.price(weight_g if method.basis == "weight" else goods)
    if amount is None:
        return Refused("not-shippable", f"{method.label} isn't offered for so small an order.")
    return method, amount


def _promote(
    pool: Pool, currency: str, goods: int, coupons: list[Coupon], rules: Rules, at: datetime
) -> list[Applied]:
    applied: list[Applied] = []
    for place, reached in sorted(_candidates(pool, coupons, rules).items()):
        promotion = rules.promotions[place]
        if (promotion.exclusive and applied) or not _due(promotion, currency, goods, at):
            continue
        amount = promotion.rule.take(pool, reached)
        if amount:
            applied.append(Applied(promotion.id, promotion.label, amount))
            if promotion.exclusive:
                break
    return applied


def _due(promotion: Promotion, currency: str, goods: int, at: datetime) -> bool:
    return (
        goods >= promotion.min_value
        and promotion.currency in (None, currency)
        and within(at, promotion.starts_at, promotion.ends_at)
    )


def _candidates(pool: Pool, coupons: list[Coupon], rules: Rules) -> dict[int, list[int]]:
    """The promotions that reach a line, by their place in the rules, with the places of their lines."""
    index, found = rules.index, dict[int, list[int]]()
    everywhere = list(range(len(pool.lines)))
    if everywhere:
        for promotion in index.everything:
            found[promotion] = everywhere
    if index.by_sku or index.by_category:
        for place, line in enumerate(pool.lines):
            reaching = {*index.by_sku.get(line.sku, ()), *index.by_category.get(line.category or "", ())}
            for promotion in reaching:
                found.setdefault(promotion, []).append(place)
    for coupon in coupons:
        promotion = index.promotions[coupon.promotion_id]
        matchers = [target.matcher() for target in rules.promotions[promotion].rule.targets]
        reached = [place for place, line in enumerate(pool.lines) if any(meant(line) for meant in matchers)]
        if reached:
            found[promotion] = reached
    return found


def rate_of(rules: Rules, country: str | None, tax_category: str, at: datetime) -> int:
    """The tax rate in basis points; a category without a rate in a country bears the standard one there, and a country
    without any rate is none of ours to tax: 0. Of two rates at once the one that began later holds."""
    if country is None:
        return 0
    for category in (tax_category, STANDARD):
        valid = [
            rate
            for rate in rules.index.tax.get((country, category), ())
            if within(at, rate.starts_at, rate.ends_at)
        ]
        if valid:
            return max(valid, key=lambda rate: (rate.starts_at is not None, rate.starts_at or at)).rate_bp
    return 0


def tax_of(amount: int, rate_bp: int, included: bool, rounding: Rounding) -> int:
    """The tax in an amount, or on top of it."""
    if not rate_bp:
        return 0
    return divide(amount * rate_bp, WHOLE_BP + rate_bp if included else WHOLE_BP, rounding)
