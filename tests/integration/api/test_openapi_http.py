"""The OpenAPI document that a worker serves is true: real answers fit the schemas it names."""

from __future__ import annotations

import re
from typing import Any

import pytest

from everopen.api import events, jobs, people, staff
from everopen.api.table import TABLE
from tests.integration.api import calls_lifecycle, calls_money, calls_pricing
from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body


def errors_of(value: Any, schema: dict[str, Any], components: dict[str, Any], where: str = "$") -> list[str]:
    """What of a value does not fit a schema: the part of JSON Schema that the document uses, and no other."""
    if "$ref" in schema:
        return errors_of(value, components[schema["$ref"].rpartition("/")[2]], components, where)
    if "anyOf" in schema:
        tried = [errors_of(value, option, components, where) for option in schema["anyOf"]]
        return [] if any(not found for found in tried) else min(tried, key=len)
    known = {
        "title",
        "description",
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "const",
        "default",
        "format",
    }
    known |= {
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "pattern",
        "additionalProperties",
        "propertyNames",
        "maxItems",
        "maxProperties",
    }
    assert set(schema) <= known, f"the checker does not know {set(schema) - known}"
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (kind == "integer" and isinstance(value, bool))):
        return [f"{where}: {value!r} is no {kind}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is none of {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {value!r} does not match")
    if kind == "object":
        properties = schema.get("properties", {})
        if isinstance(schema.get("additionalProperties"), dict):
            for name, item in value.items():
                found += errors_of(name, schema.get("propertyNames", {}), components, f"{where} {name}")
                found += errors_of(item, schema["additionalProperties"], components, f"{where}.{name}")
        found += [f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        if properties:
            found += [f"{where}: {name} is not described" for name in value if name not in properties]
        for name in value.keys() & properties.keys():
            found += errors_of(value[name], properties[name], components, f"{where}.{name}")
    if kind == "array":
        for index, item in enumerate(value):
            found += errors_of(item, schema["items"], components, f"{where}[{index}]")
    return found


@pytest.fixture(scope="module")
def document(shop: ShopUnderTest) -> dict[str, Any]:
    answer = shop.client.get("/api/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_real_answers_fit_the_document(shop: ShopUnderTest, document: dict[str, Any]) -> None:
    sku = shop.product(stock=50)
    paid = shop.order(sku, 2).json()["id"]
    shop.settled(paid)
    buyer = {
        "customer": {"email": "ann@example.com"},
        "payment": {"provider": "sandbox", "token": "tok_approve"},
    }
    goods = {"sku": sku, "quantity": 1, "unit_price": {"amount": 1, "currency": "GBP"}}
    slow = shop.order(sku, token="tok_slow").json()["id"]
    made: dict[str, tuple[str, Any]] = {
        "placeOrder": ("/api/orders", order_body(sku)),
        "quote": ("/api/quotes", {"lines": [{"sku": sku, "quantity": 2}]}),
        "getOrder": (f"/api/orders/{paid}", None),
        "refundOrder": (
            f"/api/orders/{paid}/refunds",
            {"lines": [{"sku": sku, "quantity": 1}], "reason": "r"},
        ),
        "cancelOrder": (f"/api/orders/{slow}/cancel", {"reason": "changed my mind"}),
        "credit": ("/api/credits", {"lines": [goods], "customer": {"email": "a@b.c"}, "reason": "r"}),
        "listProducts": ("/api/products?limit=3&facets=true", None),
        "putProducts": ("/api/products", {"products": [{"sku": "OA", "title": "T"}]}),
        "getProduct": (f"/api/products/{sku}", None),
        "receiveStock": ("/api/stock/receipts", {"items": [{"sku": sku, "quantity": 1}]}),
        "correctStock": ("/api/stock/corrections", {"items": [{"sku": sku, "delta": 1}], "reason": "r"}),
        "putCategories": ("/api/categories", {"categories": [{"id": "oa", "name": "OA"}]}),
        "listCategories": ("/api/categories", None),
        "putGroups": ("/api/groups", {"groups": [{"id": "oa", "title": "OA", "varies_by": ["size"]}]}),
        "listGroups": ("/api/groups", None),
        "getGroup": ("/api/groups/oa", None),
        "patchProduct": (
            f"/api/products/{sku}",
            {
                "category": "oa",
                "group": "oa",
                "attributes": {"size": ["M"]},
                "images": ["https://i.example/a.jpg"],
            },
        ),
        "putPrices": (
            f"/api/products/{sku}/prices",
            {"prices": [{"price": {"amount": 9, "currency": "EUR"}, "valid_to": "2040-01-01T00:00:00Z"}]},
        ),
        "getPrices": (f"/api/products/{sku}/prices", None),
        "getProductHistory": (f"/api/products/{sku}/history?limit=2", None),
        "listCatalogue": ("/api/catalogue?limit=3", None),
        "getCatalogueEntry": (f"/api/catalogue/{sku}", None),
        "compareProducts": ("/api/catalogue/difference", {"products": [{"sku": sku, "title": "Other"}]}),
        "putLocations": ("/api/stock/locations", {"locations": [{"id": "oa", "name": "OA"}]}),
        "listLocations": ("/api/stock/locations", None),
        "transferStock": (
            "/api/stock/transfers",
            {"items": [{"sku": sku, "quantity": 1}], "target": "oa"},
        ),
        "patchStock": (f"/api/stock/{sku}", {"low_at": 3, "backorder": 1}),
        "getStock": (f"/api/stock/{sku}", None),
        "addToCart": ("/api/cart/lines", {"sku": sku, "quantity": 2}),
        "getCart": ("/api/cart", None),
        "setCartLine": (f"/api/cart/lines/{sku}", {"quantity": 1}),
        "checkout": ("/api/checkout", buyer),
        "removeCartLine": (f"/api/cart/lines/{sku}", None),
        "clearCart": ("/api/cart", None),
        "ready": ("/readyz", None),
        "openapi": ("/api/openapi.json", None),
    }
    made |= calls_pricing.calls(shop)
    made |= calls_lifecycle.calls(shop)
    made |= calls_money.calls(shop, sku)
    elsewhere = {route.name for route in (*people.ROUTES, *staff.ROUTES)}  # test_people_http.py
    elsewhere |= calls_money.ELSEWHERE
    elsewhere |= {route.name for route in (*events.ROUTES, *jobs.ROUTES)}  # test_events_http.py
    assert set(made) | elsewhere == {route.name for route in TABLE if not route.page}
    components = document["components"]["schemas"]
    operations = {
        operation["operationId"]: (method, operation)
        for methods in document["paths"].values()
        for method, operation in methods.items()
    }
    for name, (path, body) in made.items():
        method, operation = operations[name]
        headers = STAFF if operation.get("security") else {}
        answer = shop.client.request(method.upper(), path, json=body, headers=headers)
        good = next(status for status in operation["responses"] if status.startswith("2"))
        assert str(answer.status_code) == good, (name, answer.text)
        if body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert errors_of(body, schema, components) == [], name
        schema = operation["responses"][good]["content"]["application/json"]["schema"]
        assert errors_of(answer.json(), schema, components) == [], name


@pytest.mark.parametrize(
    ("method", "path", "called"),
    [
        ("get", "/api/products/{sku}", "/api/products/%00"),
        ("get", "/api/orders/{id}", "/api/orders/1?" + "a=1&" * 60),
        ("get", "/api/cart", "/api/cart?" + "a=1&" * 60),
        ("delete", "/api/cart/lines/{sku}", "/api/cart/lines/%00"),
    ],
)
def test_an_odd_address_is_refused_as_the_document_says(
    shop: ShopUnderTest, document: dict[str, Any], method: str, path: str, called: str
) -> None:
    answer = shop.client.request(method.upper(), called)
    assert str(answer.status_code) in document["paths"][path][method]["responses"]


def test_refusals_fit_the_document(shop: ShopUnderTest, document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    for answer in (
        shop.order("no such"),
        shop.order(shop.product(stock=1), 2),
        shop.client.post("/api/orders", json={"lines": 1}),
        shop.client.get("/api/orders/0"),
    ):
        assert errors_of(answer.json(), components["Problem"], components) == []
