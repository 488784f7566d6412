"""The range of goods over HTTP: finding, changing under preconditions, looking back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.api.conftest import STAFF, ShopUnderTest


def patch(shop: ShopUnderTest, sku: str, body: dict[str, Any], **headers: str) -> Any:
    """The answer to a change of a product."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return shop.client.patch(f"/api/products/{sku}", json=body, headers={**STAFF, **named})


def test_a_change_under_the_wrong_version_is_refused_and_changes_nothing(shop: ShopUnderTest) -> None:
    sku = shop.product()
    tag = shop.client.get(f"/api/products/{sku}").headers["etag"]
    assert tag == '"1"'
    changed = patch(shop, sku, {"title": "Brass lantern"}, if_match=tag)
    assert (changed.status_code, changed.headers["etag"], changed.json()["version"]) == (200, '"2"', 2)
    late = patch(shop, sku, {"title": "Tin lantern"}, if_match=tag)
    assert (late.status_code, late.headers["etag"]) == (412, '"2"')
    assert late.json()["type"] == "/problems/precondition-failed"
    found = shop.client.get(f"/api/products/{sku}").json()
    assert (found["title"], found["price"]["amount"]) == ("Brass lantern", 255)


@pytest.mark.parametrize(
    ("tag", "status"),
    [("*", 200), ('"7", "1"', 200), ('"7", "8"', 412), ('W/"1"', 412), ("1", 412), ('"x"', 412), ("", 200)],
)
def test_if_match_means_what_the_standard_says(shop: ShopUnderTest, tag: str, status: int) -> None:
    assert patch(shop, shop.product(), {"description": "d"}, if_match=tag).status_code == status


def test_a_repeated_change_is_answered_as_the_first_time(shop: ShopUnderTest) -> None:
    sku = shop.product()
    for replayed in (None, "true"):
        answer = patch(shop, sku, {"title": "Once"}, if_match='"1"', idempotency_key=f"patch-{sku}")
        assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (200, replayed)
    assert patch(shop, sku, {"title": "Twice"}, idempotency_key=f"patch-{sku}").status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"category": "nowhere"}, 422, "unknown-category"),
        ({"group": "nowhere"}, 422, "unknown-group"),
        ({"price": {"amount": 1, "currency": "EUR"}}, 422, "bad-input"),
        ({"attributes": {"a:b": ["c"]}}, 422, "bad-input"),
        ({"attributes": {"a": []}}, 422, "bad-input"),
        ({"images": ["javascript:alert(1)"]}, 422, "bad-input"),
        ({"images": ['https://x/"onload=']}, 422, "bad-input"),
        ({"tracks_stock": False}, 422, "bad-input"),
        ({"weight_g": -1}, 422, "bad-input"),
    ],
)
def test_a_wrong_change_is_refused(shop: ShopUnderTest, body: dict[str, Any], status: int, kind: str) -> None:
    answer = patch(shop, shop.product(), body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")


def test_what_does_not_exist_can_not_be_changed(shop: ShopUnderTest) -> None:
    assert patch(shop, "none-such", {"title": "T"}).status_code == 404
    assert patch(shop, "none-such", {"title": "T"}, if_match='"1", "2"').status_code == 404
    for path in ("/api/products/none-such/history", "/api/products/none-such/prices", "/api/stock/none-such"):
        assert shop.client.get(path, headers=STAFF).status_code == 404


def test_unpublished_products_are_hidden_from_visitors_only(shop: ShopUnderTest) -> None:
    sku = shop.product(title="Hidden gramophone")
    assert patch(shop, sku, {"published": False}).status_code == 200
    assert shop.client.get(f"/api/products/{sku}").status_code == 404
    assert shop.client.get("/api/products", params={"q": "gramophone"}).json()["products"] == []
    page = shop.client.get("/api/catalogue", params={"limit": 200}, headers=STAFF).json()
    while page["next"] and all(product["sku"] != sku for product in page["products"]):
        page = shop.client.get("/api/catalogue", params={"after": page["next"]}, headers=STAFF).json()
    assert [product["published"] for product in page["products"] if product["sku"] == sku] == [False]
    assert shop.client.get("/api/catalogue").status_code == 401
    entry = shop.client.get(f"/api/catalogue/{sku}", headers=STAFF)
    assert (entry.json()["published"], entry.headers["etag"]) == (False, '"2"')
    assert shop.client.get("/api/catalogue/none-such", headers=STAFF).status_code == 404
    assert patch(shop, sku, {"published": True}).status_code == 200
    assert len(shop.client.get("/api/products", params={"q": "gramophone"}).json()["products"]) == 1


def test_products_are_found_filtered_and_counted(shop: ShopUnderTest) -> None:
    shop.staff(
        "PUT",
        "/api/categories",
        {
            "categories": [
                {"id": "kites", "name": "Kites"},
                {"id": "box", "name": "Box kites", "parent": "kites"},
            ]
        },
    )
    for title, colours, category, price in (
        ("Delta kite", ["red"], "kites", 1000),
        ("Box kite", ["red", "blue"], "box", 2000),
        ("Long kite", ["green"], "kites", 3000),
    ):
        sku = shop.product(title=title, price=price)
        patch(shop, sku, {"category": category, "attributes": {"colour": colours}})
    answer = shop.client.get(
        "/api/products",
        params=[("category", "kites"), ("attribute", "colour:red"), ("attribute", "colour:green"), ("facets", "true"),
                ("sort", "-price"), ("limit", "2")],
    ).json()  # fmt: skip
    assert [product["title"] for product in answer["products"]] == ["Long kite", "Box kite"]
    facets = answer["facets"]
    assert (facets["total"], facets["price_max"]) == (3, {"amount": 3000, "currency": "GBP"})
    assert facets["categories"] == [{"value": "kites", "count": 3}, {"value": "box", "count": 1}]
    assert facets["attributes"] == [
        {
            "name": "colour",
            "values": [
                {"value": "red", "count": 2},
                {"value": "blue", "count": 1},
                {"value": "green", "count": 1},
            ],
        }
    ]
    following = shop.client.get(
        "/api/products",
        params=[("category", "kites"), ("sort", "-price"), ("limit", "2"), ("after", answer["next"])],
    ).json()
    assert [product["title"] for product in following["products"]] == ["Delta kite"]
    other = shop.client.get("/api/products", params={"after": answer["next"]})
    assert (other.status_code, other.json()["type"]) == (422, "/problems/bad-input")


@pytest.mark.parametrize(
    "query",
    [
        "attribute=red", "attribute=:red", "attribute=colour:", "price_min=-1", "price_min=x", "in_stock=perhaps",
        "sort=beauty", "facets=2", "price_max=" + "9" * 30, "attribute=a:b&attribute=%00:x",
    ],
)  # fmt: skip
def test_a_wrong_search_is_refused(shop: ShopUnderTest, query: str) -> None:
    assert shop.client.get(f"/api/products?{query}").status_code == 422


def test_a_product_is_shown_as_it_was(shop: ShopUnderTest) -> None:
    sku = shop.product(stock=7)
    then = datetime.now(UTC)
    patch(shop, sku, {"title": "New name", "price": {"amount": 300, "currency": "GBP"}, "reason": "autumn"})
    shop.staff("POST", "/api/stock/receipts", {"items": [{"sku": sku, "quantity": 5}]})
    past = shop.client.get(f"/api/products/{sku}", params={"as_of": then.isoformat()}).json()
    assert (past["title"], past["price"]["amount"], past["on_hand"]) == ("White metal lantern", 255, 7)
    assert (past["available"], past["version"]) == (None, 1)
    now = shop.client.get(f"/api/products/{sku}").json()
    assert (now["title"], now["price"]["amount"], now["available"]) == ("New name", 300, 12)
    assert "on_hand" not in now
    assert shop.client.get(f"/api/products/{sku}?as_of=2001-01-01T00:00:00Z").status_code == 404
    for wrong in ("yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00%2B14:00"):
        assert shop.client.get(f"/api/products/{sku}?as_of={wrong}").status_code == 422
    history = shop.client.get(f"/api/products/{sku}/history", headers=STAFF).json()
    assert [(item["version"], item["reason"]) for item in history["versions"]] == [(2, "autumn"), (1, "")]
    assert history["versions"][0]["changes"] == [
        {"field": "title", "old": "White metal lantern", "new": "New name"},
        {
            "field": "price",
            "old": {"amount": 255, "currency": "GBP"},
            "new": {"amount": 300, "currency": "GBP"},
        },
    ]
    assert shop.client.get(f"/api/products/{sku}/history").status_code == 401


def test_a_difference_is_shown_and_then_only_that_is_applied(shop: ShopUnderTest) -> None:
    one, two = shop.product(), shop.product()
    body = {
        "products": [
            {"sku": one, "title": "White metal lantern", "price": {"amount": 1, "currency": "GBP"}},
            {"sku": two, "title": "White metal lantern"},
            {"sku": f"{one}-new", "title": "New"},
        ]
    }
    before = shop.counts()
    found = shop.staff("POST", "/api/catalogue/difference", body)
    assert shop.counts() == before
    assert found == {
        "added": [f"{one}-new"],
        "changed": [
            {
                "sku": one,
                "version": 1,
                "changes": [
                    {
                        "field": "price",
                        "old": {"amount": 255, "currency": "GBP"},
                        "new": {"amount": 1, "currency": "GBP"},
                    }
                ],
            }
        ],
        "unchanged": 1,
    }
    patch(shop, one, {"title": "Somebody was faster"})
    before = shop.counts()
    named = {"products": [{**body["products"][0], "version": 1}, body["products"][2]]}
    late = shop.client.put("/api/products", json=named, headers=STAFF)
    assert (late.status_code, late.json()["type"], late.json()["skus"]) == (
        409,
        "/problems/changed-meanwhile",
        [one],
    )
    assert shop.counts() == before


def test_prices_with_validity_are_set_and_read(shop: ShopUnderTest) -> None:
    sku = shop.product(price=1000)
    prices = [
        {"price": {"amount": 800, "currency": "GBP"}, "valid_from": None, "valid_to": "2100-01-01T00:00:00Z"},
        {"price": {"amount": 900, "currency": "EUR"}, "valid_from": None, "valid_to": None},
    ]
    shop.staff("PUT", f"/api/products/{sku}/prices", {"prices": prices, "reason": "sale"})
    assert shop.client.get(f"/api/products/{sku}").json()["price"]["amount"] == 800
    assert shop.order(sku).json()["total"]["amount"] == 800
    kept = shop.client.get(f"/api/products/{sku}/prices", headers=STAFF).json()["prices"]
    assert sorted(kept, key=str) == sorted(prices, key=str)
    tag = shop.client.get(f"/api/products/{sku}/prices", headers=STAFF).headers["etag"]
    for status in (200, 412):
        answer = shop.client.put(
            f"/api/products/{sku}/prices", json={"prices": prices[1:]}, headers={**STAFF, "if-match": tag}
        )
        assert answer.status_code == status
    assert answer.headers["etag"] != tag
    assert shop.client.get(f"/api/products/{sku}").json()["price"]["amount"] == 1000
    wrong = shop.client.put(
        f"/api/products/{sku}/prices", json={"prices": [prices[0], prices[0]]}, headers=STAFF
    )
    assert (wrong.status_code, "valid at once" in wrong.json()["detail"]) == (422, True)


def test_stock_is_received_moved_and_looked_at(shop: ShopUnderTest) -> None:
    shop.staff(
        "PUT",
        "/api/stock/locations",
        {"locations": [{"id": "leeds", "name": "Leeds"}, {"id": "york", "name": "York"}]},
    )
    sku = shop.product(stock=0)
    shop.staff("POST", "/api/stock/receipts", {"items": [{"sku": sku, "quantity": 9, "location": "leeds"}]})
    shop.staff(
        "POST", "/api/stock/transfers",
        {"items": [{"sku": sku, "quantity": 4}], "source": "leeds", "target": "york", "reason": "shop window"},
    )  # fmt: skip
    shop.staff("PATCH", f"/api/stock/{sku}", {"backorder": 2, "low_at": 1})
    shop.order(sku, 3, token="tok_slow")
    found = shop.client.get(f"/api/stock/{sku}?limit=2", headers=STAFF).json()
    assert (found["on_hand"], found["reserved"], found["available"], found["backorder"]) == (9, 3, 8, 2)
    assert found["places"] == [{"location": "leeds", "on_hand": 5}, {"location": "york", "on_hand": 4}]
    assert [(item["kind"], item["delta"], item["reason"]) for item in found["movements"]] == [
        ("transfer", 4, "shop window"),
        ("transfer", -4, "shop window"),
    ]
    rest = shop.client.get(f"/api/stock/{sku}", params={"after": found["next"]}, headers=STAFF).json()
    assert [(item["kind"], item["delta"]) for item in rest["movements"]] == [("receipt", 9)]
    assert shop.available(sku) == 8
    few = {"items": [{"sku": sku, "quantity": 6}], "source": "leeds", "target": "york"}
    refused = shop.client.post("/api/stock/transfers", json=few, headers=STAFF)
    assert (refused.status_code, "“leeds”, which has 5" in refused.json()["detail"]) == (409, True)
    unknown = {"items": [{"sku": sku, "quantity": 1, "location": "mars"}]}
    assert shop.client.post("/api/stock/receipts", json=unknown, headers=STAFF).status_code == 422
    assert shop.client.patch(f"/api/stock/{sku}", json={"backorder": 0}, headers=STAFF).status_code == 200


def test_groups_show_their_variants(shop: ShopUnderTest) -> None:
    shop.staff("PUT", "/api/groups", {"groups": [{"id": "mug", "title": "Mug", "varies_by": ["size"]}]})
    skus = [shop.product(title=f"Mug {size}") for size in "SML"]
    for sku, size in zip(skus, "SML", strict=True):
        patch(shop, sku, {"group": "mug", "attributes": {"size": [size]}})
    patch(shop, skus[2], {"published": False})
    found = shop.client.get("/api/groups/mug").json()
    assert found["varies_by"] == ["size"]
    assert [(item["sku"], item["attributes"]) for item in found["variants"]] == [
        (skus[0], {"size": ["S"]}),
        (skus[1], {"size": ["M"]}),
    ]
    assert shop.client.get("/api/groups/none").status_code == 404
