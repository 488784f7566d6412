"""The storefront's range by its links and forms, as a browser without JavaScript uses it."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import ShopUnderTest


@pytest.fixture(scope="module")
def hats(shop: ShopUnderTest) -> list[str]:
    """Four hats in two categories; two of them are variants of one group."""
    shop.staff(
        "PUT",
        "/api/categories",
        {
            "categories": [
                {"id": "hats", "name": "Hats & caps"},
                {"id": "caps", "name": "Caps", "parent": "hats"},
            ]
        },
    )
    shop.staff("PUT", "/api/groups", {"groups": [{"id": "fez", "title": "Fez", "varies_by": ["colour"]}]})
    skus = []
    for title, price, fields in (
        ("Fez", 1000, {"category": "hats", "group": "fez", "attributes": {"colour": ["red"]}}),
        ("Fez", 1250, {"category": "hats", "group": "fez", "attributes": {"colour": ["dark blue"]}}),
        ("Bonnet", 3000, {"category": "hats", "attributes": {"colour": ["red"]}}),
        (
            "Baseball cap",
            500,
            {"category": "caps", "images": ["https://i.example/a.jpg", "https://i.example/b.jpg"]},
        ),
    ):
        skus.append(shop.product(title=title, price=price))
        shop.staff("PATCH", f"/api/products/{skus[-1]}", fields)
    return skus


@pytest.fixture
def browser(shop: ShopUnderTest) -> Any:
    transport = httpx.HTTPTransport(uds=str(shop.worker.socket))
    with httpx.Client(
        transport=transport, base_url="http://shop", headers={"accept": "text/html"}, timeout=30
    ) as client:
        yield client


def titles(page: str) -> list[str]:
    """What the cards show."""
    return re.findall(r'<a class="name" href="[^"]+">([^<]+)</a>', page)


def link(page: str, text: str) -> str:
    """Where a link leads."""
    found = re.search(rf'<a href="([^"]+)"[^>]*>{re.escape(text)}</a>', page)
    assert found is not None, page
    return html.unescape(found[1])


def test_categories_lead_down_and_back_and_count(
    shop: ShopUnderTest, hats: list[str], browser: httpx.Client
) -> None:
    page = browser.get("/").text
    page = browser.get(link(page, "Hats &amp; caps")).text
    assert "<h1>Hats &amp; caps</h1>" in page
    assert sorted(titles(page)) == ["Baseball cap", "Bonnet", "Fez", "Fez"]
    assert 'Caps</a> <span class="count">1</span>' in page
    page = browser.get(link(page, "Caps")).text
    assert titles(page) == ["Baseball cap"]
    assert sorted(titles(browser.get(link(page, "Hats &amp; caps")).text)) == [
        "Baseball cap", "Bonnet", "Fez", "Fez",
    ]  # fmt: skip


def test_filters_add_up_are_kept_and_can_be_taken_back(
    shop: ShopUnderTest, hats: list[str], browser: httpx.Client
) -> None:
    page = browser.get("/?category=hats").text
    page = browser.get(link(page, "red")).text
    assert sorted(titles(page)) == ["Bonnet", "Fez"]
    # The form keeps the category and the colour.
    hidden = re.findall(r'type="hidden" name="(category|attribute)" value="([^"]+)"', page)
    assert hidden == [("category", "hats"), ("attribute", "colour:red")]
    page = browser.get("/", params=[*hidden, ("sort", "-price"), ("from", "9.99"), ("to", "12,5")]).text
    assert titles(page) == ["Fez"]
    assert 'value="-price" selected' in page
    page = browser.get(link(page, "✓ red")).text
    assert titles(page) == ["Fez", "Fez"]
    assert browser.get("/?from=cheap").status_code == 422


def test_pages_of_a_narrowed_list_stay_narrowed(
    shop: ShopUnderTest, hats: list[str], browser: httpx.Client
) -> None:
    many = [
        {
            "sku": f"HP{n:03d}",
            "title": "Paper hat",
            "category": "caps",
            "price": {"amount": n + 1, "currency": "GBP"},
        }
        for n in range(30)
    ]
    shop.staff("PUT", "/api/products", {"products": many})
    first = browser.get("/?category=caps&sort=-price&q=paper").text
    assert len(titles(first)) == 24
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    assert len(titles(browser.get(html.unescape(following[1])).text)) == 6
    shop.staff("PUT", "/api/products", {"products": [{**item, "published": False} for item in many]})


def test_a_product_shows_its_variants_pictures_and_place(
    shop: ShopUnderTest, hats: list[str], browser: httpx.Client
) -> None:
    page = browser.get(f"/products/{hats[0]}").text
    assert '<a href="/?category=hats">Hats &amp; caps</a>' in page
    assert '<span class="variant" aria-current="true">red</span>' in page
    other = re.search(r'<a class="variant" href="([^"]+)">dark blue <small>£12.50</small></a>', page)
    assert other is not None
    assert browser.get(other[1]).status_code == 200
    page = browser.get(f"/products/{hats[3]}")
    assert page.text.count("<img src=") == 2
    assert 'alt="Baseball cap"' in page.text
    assert "img-src 'self' data: https: http:" in page.headers["content-security-policy"]
    assert "variant" not in page.text
