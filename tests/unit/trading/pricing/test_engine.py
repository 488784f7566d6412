"""What the rules come to, in examples that one can check on paper."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

import pytest

import everopen.trading.pricing as room
from everopen.trading.pricing import Basket, BasketLine, Quote, Refused, Rules, price
from everopen.trading.pricing.promotions import (
    PROMOTIONS,
    BuyGet,
    Fixed,
    FreeShipping,
    Percentage,
    Rule,
    Target,
)
from everopen.trading.pricing.rules import Coupon, Promotion, ShippingMethod, ShippingStep, TaxRate, Terms
from tests.unit.trading.pricing.baskets import NOW

DAY = timedelta(days=1)
POST = ShippingMethod(
    code="post",
    label="Post",
    currency="GBP",
    countries=("GB", "DE"),
    basis="weight",
    weight_g_max=5000,
    steps=(ShippingStep(0, 295), ShippingStep(2000, 495)),
)
VAN = ShippingMethod(
    code="van", label="Van", currency="GBP", steps=(ShippingStep(1000, 995), ShippingStep(5000, 0))
)


def promotion(rule: Rule, number: int = 1, **conditions: Any) -> Promotion:
    """A promotion that is due unless the conditions say otherwise."""
    currency = "GBP" if rule.has_amount or conditions.get("min_value") else None
    return Promotion(
        **{"id": UUID(int=number), "label": f"P{number}", "rule": rule, "currency": currency, **conditions}
    )


def quote(*lines: tuple[Any, ...], rules: Rules, **facts: Any) -> Quote:
    """The quote of lines (SKU, quantity, price, category, tax category, weight)."""
    found = price(
        Basket(**{"lines": tuple(BasketLine(*line) for line in lines), "currency": "GBP", **facts}),
        rules,
        NOW,
    )
    assert isinstance(found, Quote), found
    return found


def refused(rules: Rules, **facts: Any) -> str:
    """Why an apple can't be bought."""
    basket = Basket(**{"lines": (BasketLine("apple", 1, 500, None, None, 100),), "currency": "GBP", **facts})
    found = price(basket, rules, NOW)
    assert isinstance(found, Refused), found
    return found.reason


@pytest.mark.parametrize(
    ("rule", "discounts"),
    [
        # apple 2 x 100, pear 1 x 50 (fruit), lantern 3 x 333
        (Percentage(off_bp=1000), [20, 5, 100]),
        (Percentage(off_bp=1000, target=Target(categories=("fruit",))), [20, 5, 0]),
        (Percentage(off_bp=5000, target=Target(skus=("pear", "pear"))), [0, 25, 0]),
        (Percentage(off_bp=10_000), [200, 50, 999]),
        (Fixed(amount=100), [16, 4, 80]),
        (Fixed(amount=10**9), [200, 50, 999]),
        (Fixed(amount=60, each="piece"), [120, 50, 180]),
        (Fixed(amount=60, each="piece", target=Target(skus=("apple",), categories=("fruit",))), [120, 50, 0]),
        (BuyGet(buy=2), [100, 50, 0]),  # six pieces: the two cheapest of them
        (BuyGet(buy=2, times_max=1), [0, 50, 0]),
        (BuyGet(buy=2, off_bp=5000), [50, 25, 0]),
        (BuyGet(buy=2, target=Target(skus=("lantern",))), [0, 0, 333]),
        (BuyGet(buy=3, target=Target(skus=("apple",))), [0, 0, 0]),
        (
            BuyGet(buy=1, target=Target(skus=("lantern",)), reward=Target(categories=("fruit",))),
            [100 * 2, 50, 0],
        ),
        (BuyGet(buy=3, target=Target(skus=("lantern",)), reward=Target(categories=("fruit",))), [0, 50, 0]),
        (BuyGet(buy=1, target=Target(skus=("pear",)), reward=Target(categories=("fruit",))), [100, 0, 0]),
    ],
)
def test_a_promotion_takes_off_what_its_kind_says(rule: Rule, discounts: list[int]) -> None:
    found = quote(
        ("apple", 2, 100, "fruit"),
        ("pear", 1, 50, "fruit"),
        ("lantern", 3, 333),
        rules=Rules(promotions=(promotion(rule),)),
    )
    assert [line.discount for line in found.lines] == discounts
    assert found.total == 1249 - sum(discounts)
    assert [gift.amount for gift in found.applied] == ([sum(discounts)] if sum(discounts) else [])


def test_every_kind_is_registered_under_its_name_and_has_a_file() -> None:
    files = {path.stem for path in Path(room.__file__).parent.glob("promotions/*.py")} - {"__init__", "kind"}
    assert files == {name.replace("-", "_") for name in PROMOTIONS}
    assert {name: kind.__struct_config__.tag for name, kind in PROMOTIONS.items()} == {
        name: name for name in PROMOTIONS
    }  # type: ignore[attr-defined]
    assert set(PROMOTIONS.values()) == set(Rule.__args__)


def test_each_promotion_works_on_what_the_ones_before_it_left() -> None:
    half, fifty = (
        promotion(Percentage(off_bp=5000), 1, priority=2),
        promotion(Fixed(amount=50), 2, priority=1),
    )
    found = quote(("apple", 1, 250), rules=Rules(promotions=(half, fifty)))
    assert [(gift.label, gift.amount) for gift in found.applied] == [("P2", 50), ("P1", 100)]


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        ({"exclusive": True}, {}, ["P1"]),
        ({}, {"exclusive": True}, ["P1"]),
        ({"exclusive": True, "min_value": 10_000}, {}, ["P2"]),  # not due, so it stops nothing
        ({}, {}, ["P1", "P2"]),
    ],
)
def test_an_exclusive_promotion_comes_alone_or_not_at_all(
    first: dict[str, Any], second: dict[str, Any], labels: list[str]
) -> None:
    rules = Rules(
        promotions=(
            promotion(Percentage(off_bp=1000), 1, priority=1, **first),
            promotion(Percentage(off_bp=1000), 2, priority=2, **second),
        )
    )
    assert [gift.label for gift in quote(("apple", 1, 1000), rules=rules).applied] == labels


@pytest.mark.parametrize(
    ("conditions", "due"),
    [
        ({"min_value": 500}, True),
        ({"min_value": 501}, False),
        ({"starts_at": NOW}, True),
        ({"starts_at": NOW + DAY}, False),
        ({"ends_at": NOW}, False),
        ({"ends_at": NOW + DAY}, True),
        ({"coupon_only": True}, False),
        ({"currency": "EUR"}, False),
    ],
)
def test_a_promotion_is_due_by_value_time_coupon_and_currency(conditions: dict[str, Any], due: bool) -> None:
    rules = Rules(promotions=(promotion(Percentage(off_bp=1000), **conditions),))
    assert bool(quote(("apple", 1, 500), rules=rules).discount) is due


def coupon_rules(**facts: Any) -> Rules:
    """A promotion that needs the coupon WELCOME."""
    needed = promotion(Percentage(off_bp=1000), coupon_only=True, **facts.pop("conditions", {}))
    coupon = Coupon(**{"id": UUID(int=9), "code": "WELCOME", "promotion_id": needed.id, **facts})
    return Rules(promotions=(needed,), coupons={coupon.code: coupon})


@pytest.mark.parametrize("typed", ["WELCOME", "welcome", " WelCome "])
def test_a_coupon_counts_however_it_is_typed(typed: str) -> None:
    found = quote(("apple", 1, 500), rules=coupon_rules(), coupons=(typed, typed.lower()))
    assert (found.discount, found.coupons) == (50, (UUID(int=9),))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"code": "OTHER"}, "unknown-coupon"),
        ({"starts_at": NOW + DAY}, "unknown-coupon"),
        ({"ends_at": NOW}, "coupon-expired"),
        ({"ended": True}, "coupon-expired"),
        ({"promotion_id": UUID(int=77)}, "coupon-expired"),  # its promotion was ended
        ({"conditions": {"ends_at": NOW}}, "coupon-expired"),
    ],
)
def test_a_coupon_that_is_no_good_is_refused_with_the_reason(facts: dict[str, Any], reason: str) -> None:
    assert refused(coupon_rules(**facts), coupons=("welcome",)) == reason


def test_a_coupon_that_gave_nothing_is_not_used() -> None:
    found = quote(("apple", 1, 500), rules=coupon_rules(conditions={"min_value": 501}), coupons=("WELCOME",))
    assert (found.discount, found.coupons) == (0, ())


@pytest.mark.parametrize(
    ("included", "rounding", "amount", "tax"),
    [
        (True, "half-even", 1200, 200),
        (True, "half-even", 999, 166),  # 166.5 to the even
        (True, "half-up", 999, 167),
        (False, "half-even", 1000, 200),
        (False, "half-even", 1002, 200),  # 200.4
        (False, "half-up", 1003, 201),  # 200.6
    ],
)
def test_tax_is_in_the_price_or_on_top_and_rounded_as_stated(
    included: bool, rounding: Any, amount: int, tax: int
) -> None:
    rules = Rules(
        terms=Terms(prices_include_tax=included, rounding=rounding),
        tax_rates=(TaxRate(country="GB", tax_category="standard", rate_bp=2000),),
    )
    found = quote(("apple", 1, amount), rules=rules, country="GB")
    assert (found.tax, found.tax_added) == (tax, not included)
    assert found.total == amount + (0 if included else tax)


@pytest.mark.parametrize(
    ("country", "category", "rate_bp"),
    [
        ("GB", None, 2000),
        ("GB", "food", 0),
        ("GB", "toys", 2000),  # no rate of its own: the standard one
        ("DE", "food", 700),
        ("DE", None, 1900),  # the rate that began later
        ("US", "food", 0),
        (None, None, 2000),  # the shop's own country
    ],
)
def test_the_rate_is_that_of_country_category_and_time(
    country: str | None, category: str | None, rate_bp: int
) -> None:
    rates = [("GB", "standard", 2000, {}), ("GB", "food", 0, {}), ("DE", "food", 700, {})]
    rates += [
        ("DE", "standard", 1600, {"ends_at": NOW + DAY}),
        ("DE", "standard", 1900, {"starts_at": NOW - DAY}),
    ]
    rates += [("GB", "food", 500, {"starts_at": NOW + DAY}), ("GB", "food", 900, {"ends_at": NOW - DAY})]
    rules = Rules(
        terms=Terms(home_country="GB"),
        tax_rates=tuple(TaxRate(country=c, tax_category=t, rate_bp=bp, **times) for c, t, bp, times in rates),
    )
    assert (
        quote(("apple", 1, 100, None, category), rules=rules, country=country).lines[0].tax_rate_bp == rate_bp
    )


@pytest.mark.parametrize(
    ("method", "grams", "pieces", "amount"),
    [
        ("post", 1999, 1, 295),
        ("post", 1000, 2, 495),
        ("post", 5000, 1, 495),
        ("post", None, 1, 295),
        ("van", None, 2, 995),
        ("van", None, 10, 0),
    ],
)
def test_shipping_costs_by_weight_or_value_in_steps(
    method: str, grams: int | None, pieces: int, amount: int
) -> None:
    rules = Rules(shipping_methods=(POST, VAN))
    found = quote(
        ("apple", pieces, 500, None, None, grams), rules=rules, shipping_method=method, country="GB"
    )
    assert (found.shipping, found.total) == (amount, 500 * pieces + amount)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "no-shipping-method"),
        ({"shipping_method": "owl"}, "no-shipping-method"),
        ({"shipping_method": "van"}, "not-shippable"),  # worth less than its first step
        ({"shipping_method": "post", "country": "US"}, "not-shippable"),
        ({"shipping_method": "post"}, "not-shippable"),
        (
            {"shipping_method": "post", "country": "GB", "lines": (BasketLine("a", 51, 1, None, None, 100),)},
            "not-shippable",
        ),
        ({"shipping_method": "post", "country": "GB", "currency": "EUR"}, "not-shippable"),
    ],
)
def test_an_order_that_nobody_sends_is_refused(facts: dict[str, Any], reason: str) -> None:
    assert refused(Rules(shipping_methods=(POST, VAN)), **facts) == reason


def test_what_weighs_nothing_needs_no_shipping() -> None:
    rules = Rules(shipping_methods=(POST,))
    assert quote(("ticket", 1, 500, None, None, 0), rules=rules).shipping == 0
    without = Rules(shipping_methods=(POST,), terms=Terms(shipping_required=False))
    assert quote(("apple", 1, 500), rules=without).shipping == 0


def test_what_nobody_weighed_needs_shipping() -> None:
    basket = Basket(lines=(BasketLine("apple", 1, 500),), currency="GBP")
    assert isinstance(price(basket, Rules(shipping_methods=(POST,)), NOW), Refused)


def test_the_odd_penny_falls_on_the_same_line_whatever_stands_first() -> None:
    rules = Rules(promotions=(promotion(Fixed(amount=5)),))
    lines = [("apple", 1, 100), ("pear", 1, 100)]
    first, second = quote(*lines, rules=rules), quote(*reversed(lines), rules=rules)
    assert {line.sku: line.discount for line in first.lines} == {"apple": 3, "pear": 2}
    assert {line.sku: line.discount for line in second.lines} == {"apple": 3, "pear": 2}


def test_shipping_is_taxed_after_it_was_made_free() -> None:
    rate = TaxRate(country="GB", tax_category="standard", rate_bp=2000)
    rules = Rules(shipping_methods=(POST,), tax_rates=(rate,), terms=Terms(prices_include_tax=False))
    facts: dict[str, Any] = {"shipping_method": "post", "country": "GB"}
    found = quote(("apple", 1, 500), rules=rules, **facts)
    assert (found.shipping, found.shipping_tax, found.tax, found.total) == (295, 59, 159, 954)

    for rule, shipping in ((FreeShipping(), 0), (FreeShipping(methods=("van",)), 295)):
        given = Rules(
            shipping_methods=(POST,),
            tax_rates=(rate,),
            terms=rules.terms,
            promotions=(promotion(rule, min_value=500),),
        )
        found = quote(("apple", 1, 500), rules=given, **facts)
        assert (found.shipping, found.shipping_tax) == (shipping, shipping // 5)
        assert [gift.amount for gift in found.applied] == ([295] if not shipping else [])


def steps_of(basket: Basket, rules: Rules) -> int:
    """How many lines of the room's source are run to price a basket: an account of the work that no clock disturbs."""
    folder, steps = str(Path(room.__file__).parent), 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal steps
        if event == "call" and not frame.f_code.co_filename.startswith(folder):
            return None
        steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = price(basket, rules, NOW)
    finally:
        sys.settrace(before)
    assert isinstance(found, Quote)
    return steps


def many_lines(count: int) -> Basket:
    """So many lines of different products, and a coupon."""
    return Basket(
        lines=tuple(
            BasketLine(f"S{number}", 1 + number % 3, 100 + number * 7 % 50, f"C{number % 10}", "food", 10)
            for number in range(count)
        ),
        currency="GBP",
        country="GB",
        coupons=("WELCOME",),
        shipping_method="post",
    )


def busy_rules(elsewhere: int) -> Rules:
    """Each kind of promotion on the whole order or a category, and `elsewhere` promotions on products of no basket."""
    first = [
        promotion(Percentage(off_bp=500), 1),
        promotion(Fixed(amount=1, each="piece", target=Target(categories=("C3",))), 2),
        promotion(BuyGet(buy=2, target=Target(categories=("C1", "C2"))), 3),
        promotion(BuyGet(buy=2, target=Target(categories=("C4",)), reward=Target(categories=("C5",))), 4),
        promotion(Percentage(off_bp=1000), 5, coupon_only=True),
    ]
    others = [
        promotion(Percentage(off_bp=1000, target=Target(skus=(f"OTHER{number}",))), 100 + number)
        for number in range(elsewhere)
    ]
    coupon = Coupon(id=UUID(int=9), code="WELCOME", promotion_id=UUID(int=5))
    heavy = ShippingMethod(code="post", label="Post", currency="GBP", steps=(ShippingStep(0, 295),))
    return Rules(
        promotions=(*first, *others),
        coupons={"WELCOME": coupon},
        tax_rates=(TaxRate(country="GB", tax_category="food", rate_bp=500),),
        shipping_methods=(heavy,),
    )


def test_rule_11_promotions_are_evaluated_once_in_time_linear_in_lines() -> None:
    """vendure#3075, medusa#13335: carts that slow down as they grow. Ten times the lines are at most ten times the work."""
    rules = busy_rules(0)
    few, many = steps_of(many_lines(100), rules), steps_of(many_lines(1000), rules)
    assert many <= 10.2 * few


def test_promotions_on_other_products_cost_a_basket_nothing() -> None:
    """vendure#3075: 0.3 s became 6 s as promotions were added."""
    basket = many_lines(100)
    assert steps_of(basket, busy_rules(2000)) == steps_of(basket, busy_rules(0))
