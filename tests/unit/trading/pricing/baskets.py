"""Baskets and rules at random, for property tests of the pricing engine."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import strategies as st

from everopen.trading.pricing.promotions import BuyGet, Fixed, FreeShipping, Percentage, Rule, Target
from everopen.trading.pricing.quote import Basket, BasketLine
from everopen.trading.pricing.rules import (
    Coupon,
    Promotion,
    Rules,
    ShippingMethod,
    ShippingStep,
    TaxRate,
    Terms,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SKUS = ("apple", "pear", "lantern", "clock", "mug")
CATEGORIES = ("fruit", "home")
COUNTRIES = ("GB", "DE", "US")

_lines = st.builds(
    BasketLine,
    sku=st.sampled_from(SKUS),
    quantity=st.one_of(st.just(1), st.integers(1, 1000)),
    unit_price=st.one_of(st.sampled_from((100, 250)), st.integers(0, 20), st.integers(0, 10**7)),
    category=st.sampled_from((None, *CATEGORIES)),
    tax_category=st.sampled_from((None, "food")),
    weight_g=st.sampled_from((None, 0, 300)),
)
_targets = st.builds(
    Target,
    skus=st.lists(st.sampled_from(SKUS), max_size=2).map(tuple),
    categories=st.lists(st.sampled_from(CATEGORIES), max_size=1).map(tuple),
)
_kinds: st.SearchStrategy[Rule] = st.one_of(
    st.builds(Percentage, off_bp=st.integers(1, 10_000), target=_targets),
    st.builds(Fixed, amount=st.integers(1, 10**5), each=st.sampled_from(("order", "piece")), target=_targets),
    st.builds(
        BuyGet,
        buy=st.integers(1, 3),
        get=st.integers(1, 2),
        off_bp=st.sampled_from((10_000, 3333)),
        target=_targets,
        reward=st.none() | _targets,
        times_max=st.none() | st.integers(1, 3),
    ),
    st.builds(FreeShipping, methods=st.sampled_from(((), ("post",), ("van",))), target=_targets),
)


@st.composite
def promotions(draw: st.DrawFn, most: int = 5) -> tuple[Promotion, ...]:
    """Some promotions, at most the last of which needs a coupon."""
    found = []
    for number in range(draw(st.integers(0, most))):
        rule = draw(_kinds)
        found.append(
            Promotion(
                id=UUID(int=number + 1),
                label=f"Promotion {number}",
                rule=rule,
                currency="GBP" if rule.has_amount else None,
                min_value=draw(st.sampled_from((0, 0, 500))),
                priority=draw(st.integers(1, 3)),
                exclusive=draw(st.sampled_from((False, False, True))),
                coupon_only=draw(st.booleans()),
            )
        )
    return tuple(found)


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """A snapshot: every promotion has a coupon (code C0, C1, …), needed or not."""
    given = draw(promotions())
    coupons = {
        f"C{number}": Coupon(id=UUID(int=1000 + number), code=f"C{number}", promotion_id=promotion.id)
        for number, promotion in enumerate(given)
    }
    rates = draw(
        st.lists(
            st.builds(
                TaxRate,
                country=st.sampled_from(COUNTRIES),
                tax_category=st.sampled_from(("standard", "food")),
                rate_bp=st.integers(0, 3000),
            ),
            max_size=4,
        )
    )
    return Rules(
        version=7,
        terms=Terms(
            prices_include_tax=draw(st.booleans()),
            rounding=draw(st.sampled_from(("half-even", "half-up"))),
            shipping_required=False,
        ),
        promotions=given,
        coupons=coupons,
        tax_rates=tuple(rates),
        shipping_methods=(
            ShippingMethod(
                code="post",
                label="Post",
                currency="GBP",
                basis="weight",
                steps=(ShippingStep(0, 295), ShippingStep(2000, 495)),
            ),
            ShippingMethod(
                code="van", label="Van", currency="GBP", steps=(ShippingStep(0, 995), ShippingStep(5000, 0))
            ),
        ),
    )


@st.composite
def shoppings(draw: st.DrawFn) -> tuple[Basket, Rules]:
    """A basket under rules that know its coupons."""
    snapshot = draw(rules())
    codes = draw(st.lists(st.sampled_from(sorted(snapshot.coupons)), max_size=3)) if snapshot.coupons else []
    basket = Basket(
        lines=tuple(draw(st.lists(_lines, max_size=8))),
        currency="GBP",
        country=draw(st.sampled_from((None, *COUNTRIES))),
        coupons=tuple(codes),
        shipping_method=draw(st.sampled_from((None, "post", "van"))),
        customer="ann@example.com",
    )
    return basket, snapshot
