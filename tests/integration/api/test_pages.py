"""The storefront by its forms, as a browser without JavaScript uses it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import ShopUnderTest

HTML = {"accept": "text/html"}


@pytest.fixture
def browser(shop: ShopUnderTest) -> Any:
    """A client that keeps cookies and follows redirects."""
    transport = httpx.HTTPTransport(uds=str(shop.worker.socket))
    with httpx.Client(
        transport=transport, base_url="http://shop", headers=HTML, follow_redirects=True, timeout=30
    ) as client:
        yield client


def form_of(page: str, action: str) -> dict[str, str]:
    """The hidden fields of a form."""
    form = re.search(rf'<form action="{action}".*?</form>', page, re.DOTALL)
    assert form is not None, page
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0]))


def test_products_are_listed_found_and_shown(shop: ShopUnderTest, browser: httpx.Client) -> None:
    sku = shop.product(title='BRASS "OWL" <DOORSTOP>', price=1295)
    page = browser.get("/", params={"q": "doorstop"})
    assert page.status_code == 200
    assert "Brass &quot;owl&quot; &lt;doorstop&gt;" in page.text
    assert "£12.95" in page.text
    assert "UCI Online Retail" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    style = re.search(r'href="(/storefront-\w+\.css)"', page.text)
    assert style is not None
    assert browser.get(style[1]).headers["content-type"] == "text/css; charset=utf-8"
    assert "Nothing was found" in browser.get("/", params={"q": "zzzzzz"}).text
    assert browser.get(f"/products/{sku}").status_code == 200


def test_the_grid_has_pages(shop: ShopUnderTest, browser: httpx.Client) -> None:
    products = [
        {"sku": f"PAGE{number:03d}", "title": "Paging peg", "price": {"amount": 5, "currency": "GBP"}}
        for number in range(30)
    ]
    shop.staff("PUT", "/api/products", {"products": products})
    first = browser.get("/", params={"q": "paging peg"}).text
    assert first.count('class="card"') == 24
    more = re.search(r'href="(/\?[^"]+)">More products', first)
    assert more is not None
    second = browser.get(more[1].replace("&amp;", "&")).text
    assert second.count('class="card"') == 6
    assert "First page" in second


def test_buying_at_once_leads_to_a_paid_order_and_a_double_click_buys_once(
    shop: ShopUnderTest, browser: httpx.Client
) -> None:
    sku = shop.product(stock=5, price=455)
    page = browser.get(f"/products/{sku}").text
    fields = form_of(page, "/buy") | {"quantity": "2", "email": "ann@example.com", "token": "tok_approve"}
    first = browser.post("/buy", data=fields)
    second = browser.post("/buy", data=fields)
    assert first.url == second.url
    assert re.fullmatch(r"/orders/[0-9a-f-]{36}", first.url.path)
    assert "£9.10" in first.text
    shop.settled(first.url.path.rpartition("/")[2])
    assert ">Paid</span>" in browser.get(first.url).text
    assert shop.available(sku) == 3


def test_a_cart_is_filled_and_checked_out_by_forms(shop: ShopUnderTest, browser: httpx.Client) -> None:
    one, two = shop.product(stock=5, price=100), shop.product(stock=5, price=250)
    page = browser.get(f"/products/{one}")
    browser.post("/cart/lines", data=form_of(page.text, "/buy") | {"quantity": "2"})
    card = browser.get("/", params={"q": two})
    fields = form_of(card.text, "/cart/lines")
    browser.post("/cart/lines", data=fields)
    page = browser.post("/cart/lines", data=fields)  # a double click
    assert page.url.path == "/cart"
    assert "3 items" in page.text
    page = browser.post("/cart/lines/set", data={"sku": two, "quantity": "1", "remove": "1"})
    assert "£2.00" in page.text
    fields = form_of(page.text, "/checkout") | {"email": "ann@example.com", "token": "tok_decline"}
    order = browser.post("/checkout", data=fields)
    assert order.url.path.startswith("/orders/")
    assert shop.settled(order.url.path.rpartition("/")[2])["status"] == "declined"
    assert ">Declined</span>" in browser.get(order.url).text
    assert "There is nothing in it yet" in browser.get("/cart").text


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"email": "nobody"}, 422, "Email must be an e-mail address"),
        ({"quantity": "0"}, 422, "Quantity must be at least 1"),
        ({"quantity": "many"}, 422, "Quantity must be a whole number"),
        ({"quantity": "6"}, 409, "6 requested, 5 are left"),
        ({"email": "a\0@example.com"}, 422, "NUL"),
        ({"key": ""}, 422, "lost its key"),
    ],
)
def test_a_refused_form_comes_back_with_the_reason(
    shop: ShopUnderTest, browser: httpx.Client, changes: dict[str, str], status: int, words: str
) -> None:
    sku = shop.product(stock=5)
    fields = form_of(browser.get(f"/products/{sku}").text, "/buy")
    fields |= {"quantity": "1", "email": "ann@example.com", "token": "tok_approve"} | changes
    answer = browser.post("/buy", data=fields)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert words in answer.text
    assert shop.available(sku) == 5


def test_a_page_adds_to_the_cart_and_buys_under_keys_of_their_own(
    shop: ShopUnderTest, browser: httpx.Client
) -> None:
    sku = shop.product(stock=5)
    fields = form_of(browser.get(f"/products/{sku}").text, "/buy")
    fields |= {"quantity": "1", "email": "ann@example.com", "token": "tok_approve"}
    assert browser.post("/cart/lines", data=fields).url.path == "/cart"
    assert browser.post("/buy", data=fields).url.path.startswith("/orders/")
    again = browser.post("/cart/lines", data=fields | {"quantity": "2"})
    assert (again.status_code, "already sent once" in again.text) == (422, True)
    assert "1 item<" in browser.get("/cart").text
    assert browser.post("/cart/lines", data=fields | {"quantity": "2", "key": ""}).status_code == 422


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}])
@pytest.mark.parametrize("path", ["/buy", "/checkout", "/cart/lines", "/cart/lines/set"])
def test_forms_of_other_sites_are_not_followed(
    shop: ShopUnderTest, browser: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    before = shop.counts()
    answer = browser.post(path, data={"sku": "x", "quantity": "1"}, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert shop.counts() == before


def test_people_get_pages_and_machines_get_documents(browser: httpx.Client) -> None:
    assert browser.get("/nowhere").headers["content-type"] == "text/html; charset=utf-8"
    assert browser.get("/api/nowhere").headers["content-type"] == "application/problem+json"
    kind = browser.get("/nowhere", headers={"accept": "*/*"}).json()["type"]
    assert "There is nothing at this address" in browser.get(kind).text


def test_a_form_that_is_far_too_large_is_refused_as_a_page(
    shop: ShopUnderTest, browser: httpx.Client
) -> None:
    answer = browser.post("/buy", data={"email": "x" * 2_000_000})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["connection"] == "close"
