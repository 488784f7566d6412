"""What holds for every basket under all rules."""

from __future__ import annotations

import random

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from everopen.trading.pricing import Basket, BasketLine, Quote, QuotedLine, Rules, price
from everopen.trading.pricing.arithmetic import divide, share
from tests.unit.trading.pricing.baskets import NOW, shoppings


def quoted(basket: Basket, rules: Rules) -> Quote:
    """The quote of a basket that can't be refused."""
    found = price(basket, rules, NOW)
    assert isinstance(found, Quote), found
    return found


@given(shoppings())
def test_every_sum_is_the_sum_of_its_parts(shopping: tuple[Basket, Rules]) -> None:
    basket, rules = shopping
    quote = quoted(basket, rules)
    assert [(line.sku, line.quantity, line.unit_price) for line in quote.lines] == [
        (line.sku, line.quantity, line.unit_price) for line in basket.lines
    ]
    assert quote.goods == sum(line.quantity * line.unit_price for line in basket.lines)
    assert quote.discount == sum(line.discount for line in quote.lines)
    assert quote.tax == sum(line.tax for line in quote.lines) + quote.shipping_tax
    charges = [
        line.quantity * line.unit_price - line.discount + (line.tax if quote.tax_added else 0)
        for line in quote.lines
    ]
    shipping = quote.shipping + (quote.shipping_tax if quote.tax_added else 0)
    assert quote.total == sum(charges) + shipping


@given(shoppings())
def test_what_promotions_gave_is_what_came_off_goods_and_shipping(shopping: tuple[Basket, Rules]) -> None:
    basket, rules = shopping
    quote = quoted(basket, rules)
    full = quoted(msgspec.structs.replace(basket, coupons=()), msgspec.structs.replace(rules, promotions=()))
    assert sum(gift.amount for gift in quote.applied) == quote.discount + full.shipping - quote.shipping
    assert all(gift.amount > 0 for gift in quote.applied)
    assert len({gift.promotion_id for gift in quote.applied}) == len(quote.applied)


@given(shoppings())
def test_nothing_is_below_zero_and_nobody_pays_more_than_the_price(shopping: tuple[Basket, Rules]) -> None:
    quote = quoted(*shopping)
    for line in quote.lines:
        assert 0 <= line.discount <= line.quantity * line.unit_price
        assert line.tax >= 0
        if not quote.tax_added:
            assert line.tax <= line.quantity * line.unit_price - line.discount
    assert min(quote.total, quote.shipping, quote.shipping_tax, quote.tax, quote.discount) >= 0
    assert quote.tax_added or quote.total <= quote.goods + 995


@given(shoppings(), st.integers())
def test_the_order_of_lines_and_coupons_decides_nothing(shopping: tuple[Basket, Rules], seed: int) -> None:
    basket, rules = shopping
    rng = random.Random(seed)
    lines, coupons = list(basket.lines), [code.lower() for code in basket.coupons]
    rng.shuffle(lines)
    rng.shuffle(coupons)
    shuffled = msgspec.structs.replace(basket, lines=tuple(lines), coupons=tuple(coupons))
    first, second = quoted(basket, rules), quoted(shuffled, rules)

    def together(found: Quote, of: Basket) -> list[tuple[object, ...]]:
        pairs = zip(of.lines, found.lines, strict=True)
        return sorted(
            (repr(msgspec.structs.astuple(line)), *msgspec.structs.astuple(got)) for line, got in pairs
        )

    assert together(first, basket) == together(second, shuffled)
    bare = {"lines": ()}
    assert msgspec.structs.replace(first, **bare) == msgspec.structs.replace(second, **bare)


@given(shoppings())
def test_an_exclusive_promotion_stands_alone(shopping: tuple[Basket, Rules]) -> None:
    basket, rules = shopping
    quote = quoted(basket, rules)
    exclusive = {promotion.id for promotion in rules.promotions if promotion.exclusive}
    if any(gift.promotion_id in exclusive for gift in quote.applied):
        assert len(quote.applied) == 1


@given(shoppings())
def test_a_coupon_is_used_exactly_when_its_promotion_gave_something(shopping: tuple[Basket, Rules]) -> None:
    basket, rules = shopping
    quote = quoted(basket, rules)
    given_by = {gift.promotion_id for gift in quote.applied}
    held = {rules.coupons[code] for code in basket.coupons}
    assert set(quote.coupons) == {coupon.id for coupon in held if coupon.promotion_id in given_by}
    needed = {promotion.id for promotion in rules.promotions if promotion.coupon_only}
    assert given_by & needed <= {coupon.promotion_id for coupon in held}


@given(shoppings())
def test_pricing_again_gives_the_same(shopping: tuple[Basket, Rules]) -> None:
    assert price(*shopping, NOW) == price(*shopping, NOW)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50), st.data())
@example([0, 0], None)
def test_shares_add_up_and_none_is_more_than_its_weight(
    weights: list[int], data: st.DataObject | None
) -> None:
    amount = data.draw(st.integers(0, sum(weights))) if data is not None else 0
    parts = share(amount, weights)
    assert sum(parts) == amount
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))
    whole = sum(weights) or 1
    assert all(
        abs(part * whole - amount * weight) < whole for part, weight in zip(parts, weights, strict=True)
    ), "a part is off by a whole unit"


@given(st.integers(0, 10**15), st.integers(1, 20_000), st.sampled_from(("half-even", "half-up")))
def test_division_rounds_to_the_nearest_and_halves_as_told(amount: int, divisor: int, rounding: str) -> None:
    found = divide(amount, divisor, rounding)  # type: ignore[arg-type]
    off = 2 * (found * divisor - amount)
    assert abs(off) <= divisor
    if abs(off) == divisor:
        assert found % 2 == 0 if rounding == "half-even" else off > 0


def test_the_empty_basket_costs_nothing() -> None:
    quote = quoted(Basket(lines=(), currency="GBP"), Rules())
    assert (quote.total, quote.lines) == (0, ())


def test_without_rules_an_order_costs_the_sum_of_its_lines() -> None:
    rules = Rules()
    assert rules.empty
    quote = quoted(Basket(lines=(BasketLine("apple", 3, 250),), currency="GBP", country="GB"), rules)
    assert quote == Quote(currency="GBP", lines=(QuotedLine("apple", 3, 250),), goods=750, total=750)
