"""Pages show what they are given, and nothing of it as markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from everopen.api import markup, markup_range
from everopen.api.shapes import CartAnswer, CartLineAnswer
from everopen.api.shapes_range import (
    CategoryAnswer,
    FacetAnswer,
    FacetsAnswer,
    FacetValueAnswer,
    ProductAnswer,
    ProductsAnswer,
)
from everopen.api.till import FIELDS, Till, checkout_form
from everopen.base.money import Money

NASTY = "<script>alert('1')</script>\" onload=\"x & 'y' 😀 שלום"


class Tags(HTMLParser):
    """Collects what a browser would see as elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def nasty(available: int | None = 3) -> ProductAnswer:
    return ProductAnswer(
        NASTY[:64],
        NASTY,
        NASTY,
        Money(255, "GBP"),
        True,
        available,
        category=NASTY,
        group=NASTY,
        attributes={NASTY: [NASTY, "b"]},
        images=[NASTY, NASTY],
        weight_g=1200,
    )


PAIRS = (("q", NASTY), ("attribute", f"{NASTY}:{NASTY}"), ("category", NASTY), ("from", NASTY))
CATEGORIES = [
    CategoryAnswer(NASTY, NASTY, None, 0, [NASTY], 3),
    CategoryAnswer("b", NASTY, NASTY, 0, [NASTY, "b"], 3),
]
FACETS = FacetsAnswer(
    2,
    1,
    None,
    None,
    [FacetValueAnswer("b", 2)],
    [FacetAnswer(NASTY, [FacetValueAnswer(NASTY, 2), FacetValueAnswer("b", 1)])],
)


@pytest.mark.parametrize(
    "page",
    [
        markup.catalogue(ProductsAnswer([nasty()], NASTY), query=NASTY, after=NASTY, key="k"),
        markup.catalogue(ProductsAnswer([], None), query=NASTY, after="", key="k"),
        markup.catalogue(
            ProductsAnswer([nasty()], NASTY),
            query=NASTY,
            after="",
            key="k",
            heading=NASTY,
            kept=PAIRS,
            toolbar=markup_range.toolbar(PAIRS, "GBP"),
            aside=markup_range.aside(PAIRS, CATEGORIES, FACETS),
        ),
        markup.product_page(
            nasty(),
            key="k",
            crumbs=markup_range.crumbs(nasty(), CATEGORIES),
            variants=markup_range.variants(nasty(), [nasty(0), nasty()], [NASTY]),
            facts=markup_range.facts(nasty()),
        ),
        markup.product_page(nasty(), key="k", email=NASTY, quantity=NASTY, notice=NASTY),
        markup.cart_page(
            CartAnswer(
                [CartLineAnswer(NASTY, NASTY, 9, Money(1, "GBP"), Money(9, "GBP"), 1)], 9, Money(9, "GBP")
            ),
            checkout_form(
                Till(None, [], [(NASTY, NASTY)], True, True, dict.fromkeys(FIELDS, NASTY), NASTY),
                key="k",
                email=NASTY,
            ),
            notice=NASTY,
        ),
        markup.problem_page(NASTY, NASTY, NASTY),
        markup.frame(NASTY, "", shop_name=NASTY, query=NASTY).decode(),
    ],
)
def test_nothing_of_a_text_becomes_markup(page: str) -> None:
    seen = Tags()
    seen.feed(page)
    assert "script" not in seen.tags
    assert "onload" not in seen.attributes
    assert "&lt;script&gt;" in page.lower()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Money(123456, "GBP"), "£1,234.56"),
        (Money(5, "EUR"), "€0.05"),
        (Money(-255, "USD"), "−$2.55"),
        (Money(1200, "JPY"), "¥1,200"),
        (Money(1234, "KWD"), "KWD\N{NO-BREAK SPACE}1.234"),
    ],
)
def test_money_reads_as_on_a_price_tag(value: Money, shown: str) -> None:
    assert markup.money(value) == shown


def test_titles_that_shout_are_calmed() -> None:
    assert markup.name_of("WHITE METAL LANTERN") == "White Metal Lantern"
    assert markup.name_of("Doll's house") == "Doll's house"


def test_what_is_sold_out_has_no_button() -> None:
    assert "<button" not in markup.product_page(nasty(0), key="k")
    assert "Sold out" in markup.product_page(nasty(0), key="k")
    assert "Only 3 left" in markup.product_page(nasty(3), key="k")
