"""Staff set promotions, coupons, tax rates and shipping methods over HTTP; every change moves the version of the rules on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from everopen.trading.pricing import Rules, load_rules
from tests.integration.api.calls_pricing import METHOD, PROMOTION, TERMS
from tests.integration.api.conftest import STAFF, ShopUnderTest

OVER = {"ends_at": "2020-01-01T00:00:00Z"}
NOWHERE = {"target": {"skus": ["NOBODY-SELLS-THIS"]}}


@pytest.fixture(autouse=True)
def nothing_left(shop: ShopUnderTest) -> Iterator[None]:
    """The worker is shared with other tests: afterwards nothing of the rules holds any more."""
    yield

    async def clear() -> None:
        async with shop.database.connect("postgres") as connection:
            for table in ("promotions", "coupons", "tax_rates", "shipping_methods"):
                await connection.execute(f"UPDATE {table} SET ended_at = now() WHERE ended_at IS NULL")
            await connection.execute(
                "UPDATE pricing_rules SET version = version + 1, prices_include_tax = true"
            )

    asyncio.run(clear())


def rules_of(shop: ShopUnderTest, since: Rules | None = None) -> Rules:
    """The snapshot that a worker would load."""

    async def load() -> Rules:
        async with shop.database.connect() as connection:
            return await load_rules(connection, since)

    return asyncio.run(load())


def count(shop: ShopUnderTest, statement: str, *arguments: Any) -> int:
    """One number from the database."""

    async def ask() -> int:
        async with shop.database.connect("postgres") as connection:
            return int(await connection.fetchval(statement, *arguments))

    return asyncio.run(ask())


def call(shop: ShopUnderTest, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """A staff call's answer, whatever it is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return shop.client.request(method, path, json=body, headers={**STAFF, **named})


def new_promotion(shop: ShopUnderTest, **facts: Any) -> str:
    """A promotion that reaches nothing that is sold here; answers its id."""
    body = {"label": "Ten", "rule": {"kind": "percentage", "off_bp": 1000, **NOWHERE}, **facts}
    return str(shop.staff("POST", "/api/promotions", body)["id"])


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "percentage", "off_bp": 1000, **NOWHERE},
        {"kind": "fixed", "amount": 500, "each": "piece", **NOWHERE},
        {"kind": "buy-get", "buy": 2, "get": 1, **NOWHERE, "reward": {"categories": ["none"]}},
        {"kind": "free-shipping", "methods": ["post"], **NOWHERE},
    ],
    ids=lambda rule: rule["kind"],
)
def test_every_kind_of_promotion_comes_back_as_it_was_set_and_reaches_the_workers(
    shop: ShopUnderTest, rule: dict[str, Any]
) -> None:
    body = {
        "label": "Spring",
        "rule": rule,
        "currency": "GBP",
        "min_value": 2000,
        "starts_at": "2026-01-01T01:00:00+01:00",
        "priority": 5,
        "exclusive": True,
    }
    made = shop.staff("POST", "/api/promotions", body)
    assert shop.client.get(f"/api/promotions/{made['id']}", headers=STAFF).json() == made
    assert made["starts_at"] == "2026-01-01T00:00:00Z"
    assert {name: made["rule"][name] for name in rule if name not in ("target", "reward")} == {
        name: value for name, value in rule.items() if name not in ("target", "reward")
    }
    held = {str(promotion.id): promotion for promotion in rules_of(shop).promotions}
    assert held[made["id"]].rule.__struct_config__.tag == rule["kind"]
    assert (held[made["id"]].min_value, held[made["id"]].exclusive) == (2000, True)

    changed = shop.staff("PUT", f"/api/promotions/{made['id']}", {**body, "priority": 6})
    assert changed == {**made, "priority": 6}
    ended = call(shop, "DELETE", f"/api/promotions/{made['id']}").json()
    assert ended["ended_at"] is not None
    assert made["id"] not in {str(promotion.id) for promotion in rules_of(shop).promotions}
    assert shop.staff("PUT", f"/api/promotions/{made['id']}", body) == made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rule": {"kind": "magic"}}, "rule"),
        ({"rule": {"kind": "percentage", "off_bp": 10_001}}, "off_bp"),
        ({"rule": {"kind": "percentage", "off_bp": 1000, "of_bp": 1}}, "of_bp"),
        ({"rule": {"kind": "fixed", "amount": 500}}, "currency"),
        ({"min_value": 1}, "currency"),
        ({"currency": "DEM"}, "DEM"),
        ({"starts_at": "2026-02-01T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "0001-01-01T00:00:00+05:00"}, "calendar"),
        ({"starts_at": "2026-02-01T00:00:00"}, "zone"),
        ({"rule": {"kind": "buy-get", "buy": 1, "reward": {"skus": ["A"]}}}, "reward"),
        ({"label": "a\0b"}, "NUL"),
        ({"rule": {"kind": "percentage", "off_bp": 1000, "target": {"skus": ["a\0b"]}}}, "NUL"),
        ({"priority": -1}, "priority"),
    ],
)
def test_a_promotion_that_makes_no_sense_is_refused_with_the_reason(
    shop: ShopUnderTest, change: dict[str, Any], says: str
) -> None:
    answer = call(shop, "POST", "/api/promotions", {**PROMOTION, **change})
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]


def test_every_change_moves_the_version_on_and_is_in_the_audit_log(shop: ShopUnderTest) -> None:
    promotion = new_promotion(shop)
    coupon = {"code": "LOGGED", "promotion_id": promotion}
    rate = shop.staff("POST", "/api/tax-rates", {"country": "XX", "rate_bp": 1})["id"]
    changes: list[tuple[str, str, Any, str]] = [
        ("POST", "/api/promotions", PROMOTION, "promotion"),
        ("PUT", f"/api/promotions/{promotion}", PROMOTION, "promotion-change"),
        ("PUT", "/api/coupons", {"coupons": [coupon]}, "coupons"),
        ("DELETE", "/api/coupons/logged", None, "coupon-end"),
        ("DELETE", f"/api/promotions/{promotion}", None, "promotion-end"),
        ("POST", "/api/tax-rates", {"country": "XX", "rate_bp": 1}, "tax-rate"),
        ("PUT", f"/api/tax-rates/{rate}", {"country": "XX", "rate_bp": 2}, "tax-rate-change"),
        ("DELETE", f"/api/tax-rates/{rate}", None, "tax-rate-end"),
        ("PUT", "/api/shipping-methods/logged", METHOD, "shipping-method"),
        ("DELETE", "/api/shipping-methods/logged", None, "shipping-method-end"),
        ("PUT", "/api/pricing-terms", TERMS, "pricing-terms"),
    ]
    for method, path, body, action in changes:
        before, key = rules_of(shop).version, str(uuid.uuid4())
        for _ in range(2):
            answer = call(shop, method, path, body, idempotency_key=key)
            assert answer.status_code < 300, (path, answer.text)
        assert answer.headers["idempotency-replayed"] == "true"
        after = rules_of(shop).version
        assert after > before, path
        logged = "SELECT count(*) FROM audit_log WHERE key = $1 AND action = $2 AND actor = 'operator'"
        assert count(shop, logged, key, action) == 1, path
        assert call(shop, method, path, body, idempotency_key=key).status_code < 300
        assert rules_of(shop).version == after, f"a replay of {path} changed the rules"


def test_a_key_that_was_used_for_another_change_is_refused(shop: ShopUnderTest) -> None:
    key = str(uuid.uuid4())
    assert call(shop, "POST", "/api/promotions", PROMOTION, idempotency_key=key).status_code == 201
    version = rules_of(shop).version
    for method, path, body in (
        ("POST", "/api/promotions", {**PROMOTION, "label": "Another"}),
        ("POST", "/api/tax-rates", {"country": "XX", "rate_bp": 1}),
    ):
        assert call(shop, method, path, body, idempotency_key=key).json()["type"] == "/problems/key-reused"
    assert rules_of(shop).version == version


def test_a_promotion_that_is_added_again_with_its_key_is_the_same_one(shop: ShopUnderTest) -> None:
    key = str(uuid.uuid4())
    first, again = (call(shop, "POST", "/api/promotions", PROMOTION, idempotency_key=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()


def test_coupons_are_set_in_batches_all_or_none(shop: ShopUnderTest) -> None:
    promotion = new_promotion(shop)
    one, two = ({"code": f"batch-{n}", "promotion_id": promotion, "limit_total": 5} for n in (1, 2))
    assert shop.staff("PUT", "/api/coupons", {"coupons": [one, two]}) == {"added": 2, "updated": 0}
    more = {**one, "code": "BATCH-1", "limit_per_customer": 2}
    third = {**two, "code": "Batch-3"}
    assert shop.staff("PUT", "/api/coupons", {"coupons": [more, third]}) == {"added": 1, "updated": 1}
    held = call(shop, "GET", "/api/coupons/Batch-1").json()
    assert (held["code"], held["limit_total"], held["limit_per_customer"], held["used"]) == (
        "BATCH-1",
        5,
        2,
        0,
    )
    fourth = {**one, "code": "BATCH-4"}
    for bad in (
        [fourth, {**two, "promotion_id": str(uuid.uuid4())}],
        [fourth, {**fourth, "code": "batch-4"}],
    ):
        assert call(shop, "PUT", "/api/coupons", {"coupons": bad}).json()["type"] == "/problems/bad-input"
    assert call(shop, "GET", "/api/coupons/BATCH-4").status_code == 404
    assert {"BATCH-1", "BATCH-2", "BATCH-3"} <= set(rules_of(shop).coupons)


def test_a_limit_below_what_is_used_already_is_refused(shop: ShopUnderTest) -> None:
    promotion = new_promotion(shop)
    coupon = {"code": "USED", "promotion_id": promotion}
    shop.staff("PUT", "/api/coupons", {"coupons": [coupon]})
    use = "SELECT count(use_coupons(ARRAY[gen_random_uuid()], ARRAY[id], ARRAY['ann'])) FROM coupons, generate_series(1, 3) n WHERE code = 'USED'"
    assert count(shop, use) == 3
    answer = call(shop, "PUT", "/api/coupons", {"coupons": [{**coupon, "limit_total": 2}]})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert "3 orders use" in answer.json()["detail"]
    answer = call(shop, "PUT", "/api/coupons", {"coupons": [{**coupon, "limit_per_customer": 2}]})
    assert (answer.status_code, "3 orders of one customer" in answer.json()["detail"]) == (409, True)
    shop.staff("PUT", "/api/coupons", {"coupons": [{**coupon, "limit_total": 3}]})
    assert call(shop, "GET", "/api/coupons/used").json()["used"] == 3
    assert (
        count(
            shop,
            "WITH d AS (SELECT array_agg(order_id) AS ids FROM coupon_uses) SELECT free_coupons(ids) FROM d",
        )
        == 3
    )


def test_lists_are_paged_and_leave_out_what_ended(shop: ShopUnderTest) -> None:
    made = [new_promotion(shop, label=f"Page {n}") for n in range(3)]
    shop.staff(
        "PUT", "/api/coupons", {"coupons": [{"code": f"PAGE{n}", "promotion_id": made[0]} for n in range(3)]}
    )
    call(shop, "DELETE", f"/api/promotions/{made[1]}")
    call(shop, "DELETE", "/api/coupons/PAGE1")

    def all_of(path: str, name: str, field: str) -> list[str]:
        found, after = [], ""
        while True:
            answer = call(shop, "GET", f"{path}limit=1{after}").json()
            found += [str(item[field]) for item in answer[name]]
            if answer["next"] is None:
                return found
            after = f"&after={answer['next']}"

    live = all_of("/api/promotions?", "promotions", "id")
    assert [found for found in live if found in made] == [made[2], made[0]]
    assert made[1] in all_of("/api/promotions?ended=true&", "promotions", "id")
    assert all_of(f"/api/coupons?promotion={made[0]}&", "coupons", "code") == ["PAGE0", "PAGE2"]
    assert all_of(f"/api/coupons?promotion={made[0]}&ended=true&", "coupons", "code") == [
        "PAGE0",
        "PAGE1",
        "PAGE2",
    ]
    for bad in (
        "/api/coupons?promotion=x",
        "/api/coupons?ended=yes",
        "/api/promotions?after=x",
        "/api/tax-rates?country=gb",
    ):
        assert call(shop, "GET", bad).status_code == 422, bad


def test_anybody_may_ask_how_goods_are_sent_to_a_country(shop: ShopUnderTest) -> None:
    shop.staff("PUT", "/api/shipping-methods/post", METHOD)
    shop.staff("PUT", "/api/shipping-methods/world", {**METHOD, "countries": []})
    shop.staff("PUT", "/api/shipping-methods/gone", METHOD)
    call(shop, "DELETE", "/api/shipping-methods/gone")

    def codes(query: str) -> list[str]:
        return [
            found["code"]
            for found in shop.client.get(f"/api/shipping-methods{query}").json()["shipping_methods"]
        ]

    assert (codes("?country=IE"), codes("?country=FR"), codes("")) == (
        ["post", "world"],
        ["world"],
        ["post", "world"],
    )
    one = shop.client.get("/api/shipping-methods/post").json()
    assert (one["steps"], one["countries"]) == (METHOD["steps"], METHOD["countries"])
    held = {method.code: method for method in rules_of(shop).shipping_methods}
    assert [(step.at_least, step.price) for step in held["post"].steps] == [(0, 295), (2000, 495)]

    steps = [{"at_least": 100, "price": 1}]
    changed = shop.staff("PUT", "/api/shipping-methods/post", {**METHOD, "steps": steps})
    assert changed["steps"] == steps
    for bad in ([{"at_least": 2, "price": 1}, {"at_least": 2, "price": 2}], []):
        assert call(shop, "PUT", "/api/shipping-methods/post", {**METHOD, "steps": bad}).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/api/promotions/{uuid.uuid4()}", None),
        ("GET", "/api/promotions/x", None),
        ("PUT", f"/api/promotions/{uuid.uuid4()}", PROMOTION),
        ("DELETE", f"/api/promotions/{uuid.uuid4()}", None),
        ("GET", "/api/coupons/none", None),
        ("GET", "/api/coupons/not%20a%20code", None),
        ("DELETE", "/api/coupons/none", None),
        ("PUT", f"/api/tax-rates/{uuid.uuid4()}", {"country": "XX", "rate_bp": 1}),
        ("DELETE", f"/api/tax-rates/{uuid.uuid4()}", None),
        ("GET", "/api/shipping-methods/none", None),
        ("DELETE", "/api/shipping-methods/none", None),
        ("PUT", "/api/shipping-methods/No", METHOD),
    ],
)
def test_what_is_not_there_is_not_found_and_changes_nothing(
    shop: ShopUnderTest, method: str, path: str, body: Any
) -> None:
    version = rules_of(shop).version
    assert call(shop, method, path, body).status_code == 404
    assert rules_of(shop).version == version


@pytest.mark.parametrize("path", ["/api/promotions", "/api/coupons", "/api/tax-rates", "/api/pricing-terms"])
def test_only_staff_see_the_rules(shop: ShopUnderTest, path: str) -> None:
    assert shop.client.get(path).status_code == 401


def test_a_snapshot_is_renewed_by_what_changed_and_read_anew_after_a_rollback(shop: ShopUnderTest) -> None:
    promotion = new_promotion(shop)
    for n in (1, 2):
        shop.staff("PUT", "/api/coupons", {"coupons": [{"code": f"SINCE{n}", "promotion_id": promotion}]})
    first = rules_of(shop)
    assert call(shop, "DELETE", "/api/coupons/SINCE2").status_code == 200
    shop.staff("PUT", "/api/coupons", {"coupons": [{"code": "SINCE3", "promotion_id": promotion}]})
    second = rules_of(shop, first)
    assert second.coupons["SINCE1"] is first.coupons["SINCE1"]
    assert second.coupons["SINCE2"].ended
    assert not first.coupons["SINCE2"].ended
    assert second.coupons == rules_of(shop).coupons
    assert rules_of(shop, second) == second

    class Later(Rules, frozen=True):
        """A snapshot of a time that was undone."""

    undone = Later(version=second.version + 10**9, coupons={"UNDONE": second.coupons["SINCE1"]})
    assert "UNDONE" not in rules_of(shop, undone).coupons
