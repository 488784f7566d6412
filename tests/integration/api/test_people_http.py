"""Customers and staff over HTTP: every call once and more, each answer held against the OpenAPI document."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pyotp
import pytest

from everopen.api import people, staff
from everopen.api.openapi import document
from everopen.api.table import TABLE
from everopen.trading import audit
from everopen.trading.people.roles import ROLES
from tests.integration.api.conftest import STAFF, ShopUnderTest, order_body
from tests.integration.api.test_openapi_http import errors_of

DOCUMENT = document(TABLE, shop_name="Shop", version="1")
ROUTES = {route.name: route for route in (*people.ROUTES, *staff.ROUTES)}
ADDRESS = {"recipient": "Ann", "line1": "1 High Street", "city": "Leeds", "country": "GB"}
PASSWORD = "correct horse battery"
NEW = "staple of another kind"
called: set[str] = set()


class Visitor:
    """A client with cookies and an address of its own, who looks each answer up in the document."""

    def __init__(self, shop: ShopUnderTest, client: httpx.Client) -> None:
        self.shop = shop
        self.client = client
        self.address = f"192.0.2.{uuid.uuid4().int % 250}"
        self.token = ""

    def __call__(self, name: str, body: Any = None, *, query: str = "", status: int = 0, **facts: Any) -> Any:
        route = ROUTES[name]
        path = re.sub(r"\{(\w+)\}", lambda found: str(facts[found[1]]), route.path) + query
        headers = {"x-forwarded-for": self.address}
        if facts.get("key"):
            headers["idempotency-key"] = facts["key"]
        if facts.get("token", self.token):
            headers["authorization"] = f"Bearer {facts.get('token', self.token)}"
        answer = self.client.request(route.method, path, json=body, headers=headers)
        assert answer.status_code == (status or route.status), answer.text
        described = DOCUMENT["paths"][route.path][route.method.lower()]["responses"][str(answer.status_code)]
        (content,) = described["content"].values()
        assert errors_of(answer.json(), content["schema"], DOCUMENT["components"]["schemas"]) == []
        if answer.status_code < 300:
            called.add(name)
        return answer.json() if answer.status_code < 300 else answer


@pytest.fixture
def visitor(shop: ShopUnderTest) -> Iterator[Visitor]:
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(shop.worker.socket)), base_url="http://shop", timeout=30
    ) as client:
        yield Visitor(shop, client)


@pytest.fixture
def operator(visitor: Visitor) -> Visitor:
    """Somebody with the operator key."""
    visitor.token = STAFF["authorization"].removeprefix("Bearer ")
    return visitor


def email() -> str:
    return f"ann-{uuid.uuid4().hex[:12]}@example.org"


def fetch(shop: ShopUnderTest, statement: str, *arguments: Any) -> list[Any]:
    async def ask() -> list[Any]:
        async with shop.database.connect("postgres") as connection:
            return list(await connection.fetch(statement, *arguments))

    return asyncio.run(ask())


def enrol(visitor: Visitor, *roles: str) -> tuple[str, str, str]:
    """An account with everything set up: its login, its session's token and its secret."""
    name = f"staff-{uuid.uuid4().hex[:12]}"
    made = visitor("addStaff", {"login": name, "roles": list(roles)}, token=OPERATOR)
    entry = visitor("staffLogin", {"login": name, "password": made["password"]}, token="")
    token = entry["token"]
    visitor("changeStaffPassword", {"current": made["password"], "new": PASSWORD}, token=token)
    offer = visitor("offerSecondFactor", {"password": PASSWORD}, token=token)
    code = pyotp.TOTP(offer["secret"]).now()
    visitor("confirmSecondFactor", {"code": code}, token=token)
    return name, token, offer["secret"]


OPERATOR = STAFF["authorization"].removeprefix("Bearer ")


def test_a_customer_from_registration_to_the_order_in_the_list(shop: ShopUnderTest, visitor: Visitor) -> None:
    address, sku = email(), shop.product(price=300)
    visitor("getMe", status=401)
    visitor.client.post("/api/cart/lines", json={"sku": sku, "quantity": 2})
    planted = visitor.client.cookies["everopen_session"]
    made = visitor("register", {"email": address, "password": PASSWORD, "name": "Ann"})
    assert visitor("register", {"email": address.upper(), "password": PASSWORD}, status=409).json()
    visitor("getMe", status=401)
    visitor("login", {"email": address, "password": "not this one"}, status=401)
    assert visitor("login", {"email": address, "password": PASSWORD}) == made
    assert visitor.client.cookies["everopen_session"] != planted
    assert visitor("getMe") == made
    assert visitor.client.get("/api/cart").json()["units"] == 2  # the guest's cart came along
    assert visitor("listOwnOrders") == {"orders": [], "next": None}
    order = {k: v for k, v in order_body(sku).items() if k != "lines"}
    placed = visitor.client.post("/api/checkout", json=order).json()
    direct = visitor.client.post("/api/orders", json=order_body(sku)).json()
    assert direct["id"] != placed["id"]
    listed = visitor("listOwnOrders")["orders"]
    assert [entry["id"] for entry in listed] == [direct["id"], placed["id"]]
    assert {"amount": 600, "currency": "GBP"} in [entry["total"] for entry in listed]
    visitor("logout")
    visitor("getMe", status=401)
    shop_sees = visitor("getCustomer", id=made["id"], token=OPERATOR)
    assert shop_sees == made


def test_own_orders_come_in_pages(shop: ShopUnderTest, visitor: Visitor) -> None:
    address = email()
    made = visitor("register", {"email": address, "password": PASSWORD})
    visitor("login", {"email": address, "password": PASSWORD})
    ids = [shop.order(shop.product()).json()["id"] for _ in range(5)]
    fetch(shop, "UPDATE orders SET customer_id = $1 WHERE id = ANY ($2::uuid[])", made["id"], ids)
    first = visitor("listOwnOrders", query="?limit=2")
    second = visitor("listOwnOrders", query=f"?limit=2&after={first['next']}")
    third = visitor("listOwnOrders", query=f"?limit=2&after={second['next']}")
    pages = [entry["id"] for page in (first, second, third) for entry in page["orders"]]
    assert pages == ids[::-1]
    assert third["next"] is None
    visitor("listOwnOrders", query="?after=nonsense", status=422)


def test_profile_password_and_addresses(visitor: Visitor) -> None:
    address = email()
    visitor("register", {"email": address, "password": PASSWORD})
    visitor("login", {"email": address, "password": PASSWORD})
    assert visitor("changeMe", {"name": "Zoë"})["name"] == "Zoë"
    visitor("changeMe", {"email": email()}, status=401)
    moved = email()
    assert visitor("changeMe", {"email": moved, "password": PASSWORD})["email"] == moved
    visitor("changePassword", {"current": "wrong one", "new": NEW}, status=401)
    visitor("changePassword", {"current": PASSWORD, "new": "short"}, status=422)
    visitor("changePassword", {"current": PASSWORD, "new": NEW}, key=f"p-{moved}")
    visitor(
        "changePassword", {"current": PASSWORD, "new": NEW}, key=f"p-{moved}"
    )  # sent again by the gateway
    home = visitor("addAddress", ADDRESS)
    assert visitor("setAddress", {**ADDRESS, "city": "York"}, id=home["id"])["city"] == "York"
    assert visitor("listAddresses")["addresses"] == [{**home, "city": "York"}]
    visitor("setAddress", ADDRESS, id=uuid.uuid4(), status=404)
    visitor("setAddress", ADDRESS, id="nonsense", status=404)
    visitor("addAddress", {**ADDRESS, "country": "uk"}, status=422)
    visitor("dropAddress", id=home["id"])
    visitor("dropAddress", id=home["id"])
    assert visitor("listAddresses") == {"addresses": []}


def test_a_forgotten_password(shop: ShopUnderTest, visitor: Visitor) -> None:
    address = email()
    visitor("register", {"email": address, "password": PASSWORD})
    known = visitor("askPasswordReset", {"email": address})
    assert visitor("askPasswordReset", {"email": email()}) == known
    (row,) = fetch(
        shop,
        "SELECT payload FROM (SELECT topic, payload FROM outbox UNION ALL SELECT topic, payload FROM events) letters "
        "WHERE topic = 'customer.password_reset' AND payload ->> 'email' = $1",
        address,
    )
    token = json.loads(row["payload"])["token"]
    visitor("resetPassword", {"token": token, "password": "short"}, status=422)
    visitor("resetPassword", {"token": token, "password": NEW}, key=f"r-{address}")
    visitor("resetPassword", {"token": token, "password": NEW}, key=f"r-{address}")
    visitor("resetPassword", {"token": token, "password": PASSWORD}, status=409)
    visitor("login", {"email": address, "password": NEW})


def test_guesses_are_told_to_wait(visitor: Visitor) -> None:
    address = email()
    for _ in range(6):
        visitor("login", {"email": address, "password": "a guess"}, status=401)
    told = visitor("login", {"email": address, "password": "a guess"}, status=429)
    assert told.json()["type"] == "/problems/too-many-attempts"
    assert int(told.headers["retry-after"]) >= 1


def test_staff_from_the_first_password_to_their_rights(shop: ShopUnderTest, visitor: Visitor) -> None:
    name, token, secret = enrol(visitor, "support")
    rights = visitor("getStaffMe", token=token)
    assert (set(rights["scopes"]), rights["missing"]) == (ROLES["support"], [])
    told = visitor("listStaff", token=token, status=403)
    assert "staff:write" in told.json()["detail"]
    assert visitor("listCustomers", query="?limit=1", token=token)["customers"] is not None
    needed = visitor("staffLogin", {"login": name, "password": PASSWORD}, status=401, token="")
    assert needed.json()["type"] == "/problems/code-needed"
    later = pyotp.TOTP(secret).at(int(time.time()) + 30)
    codes = visitor("renewRecoveryCodes", {"code": later}, token=token)["recovery_codes"]
    entry = visitor("staffLogin", {"login": name, "password": PASSWORD, "code": codes[0]}, token="")
    assert entry["recovery_codes_left"] == 9
    visitor("staffLogout", token=entry["token"])
    visitor("getStaffMe", token=entry["token"], status=403)
    visitor("getStaffMe", token=token)


def test_the_first_password_opens_nothing_but_the_own_account(visitor: Visitor) -> None:
    name = f"staff-{uuid.uuid4().hex[:12]}"
    made = visitor("addStaff", {"login": name, "roles": ["owner"]}, token=OPERATOR)
    entry = visitor("staffLogin", {"login": name, "password": made["password"]}, token="")
    assert (entry["scopes"], entry["missing"]) == ([], ["password", "second-factor"])
    told = visitor("listStaff", token=entry["token"], status=403)
    assert "change the password" in told.json()["detail"]


def test_accounts_are_changed_reset_and_ended(operator: Visitor) -> None:
    name, token, _ = enrol(operator, "support")
    operator("addStaff", {"login": name.upper(), "roles": ["support"]}, status=409)
    operator("addStaff", {"login": "x y", "roles": ["support"]}, status=422)
    operator("addStaff", {"login": "somebody", "roles": ["king"]}, status=422)
    (found,) = [entry for entry in operator("listStaff")["staff"] if entry["login"] == name]
    changed = operator("changeStaff", {"roles": ["catalogue"], "name": "Ann"}, id=found["id"])
    assert (changed["roles"], changed["name"]) == (["catalogue"], "Ann")
    assert operator("getStaffMe", token=token)["scopes"] == sorted(ROLES["catalogue"])  # at once
    reset = operator("resetStaff", {"second_factor": True}, id=found["id"])
    operator("getStaffMe", token=token, status=403)
    operator("staffLogin", {"login": name, "password": reset["password"]}, token="")
    operator("changeStaff", {"active": False}, id=found["id"])
    operator("staffLogin", {"login": name, "password": reset["password"]}, token="", status=401)
    operator("changeStaff", {"active": False}, id=uuid.uuid4(), status=404)


def test_a_key_works_where_its_scopes_say_so_and_not_elsewhere(operator: Visitor) -> None:
    made = operator("addKey", {"name": "erp", "scopes": ["catalogue:write"]})
    token = made["token"]
    product = {"products": [{"sku": f"K{uuid.uuid4().hex[:8]}", "title": "T"}]}
    bearer = {"authorization": f"Bearer {token}"}
    assert operator.client.put("/api/products", json=product, headers=bearer).status_code == 200
    refused = operator.client.post(
        "/api/stock/receipts", json={"items": [{"sku": "K", "quantity": 1}]}, headers=bearer
    )
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/not-allowed")
    (logged, *_) = operator("listAuditLog", query="?actor=key:erp")["entries"]
    assert (logged["actor"], logged["action"]) == ("key:erp", "products")
    operator("getStaffMe", token=token, status=403)  # a key has no account of its own
    assert made["key"]["id"] in [entry["id"] for entry in operator("listKeys")["keys"]]
    operator("revokeKey", id=made["key"]["id"])
    assert operator.client.put("/api/products", json=product, headers=bearer).status_code == 403
    operator("addKey", {"name": "erp", "scopes": ["everything"]}, status=422)
    operator("revokeKey", id=uuid.uuid4(), status=404)


def test_other_prices_are_for_those_who_may_change_orders(shop: ShopUnderTest, operator: Visitor) -> None:
    sku = shop.product()
    body = order_body(sku)
    body["lines"][0]["unit_price"] = {"amount": 1, "currency": "GBP"}
    for scope, status in (("orders:read", 403), ("orders:write", 201)):
        token = operator("addKey", {"name": scope, "scopes": [scope]})["token"]
        answer = shop.client.post("/api/orders", json=body, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert shop.client.post("/api/orders", json=body).status_code == 401


def test_the_log_says_who_did_what_in_pages(operator: Visitor) -> None:
    operator("addKey", {"name": "one", "scopes": ["stock:write"]})
    operator("addKey", {"name": "two", "scopes": ["stock:write"]})
    first = operator("listAuditLog", query="?limit=1&action=key-added")
    second = operator("listAuditLog", query=f"?limit=1&action=key-added&after={first['next']}")
    assert first["entries"][0]["detail"] == "two: stock:write"
    assert second["entries"][0]["detail"] == "one: stock:write"
    assert first["entries"][0]["actor"] == "operator"
    operator("listAuditLog", query="?after=abc", status=422)
    operator("listAuditLog", token="", status=401)


def test_customers_are_found_and_erased_by_staff(operator: Visitor) -> None:
    address = email()
    made = operator("register", {"email": address, "password": PASSWORD})
    assert operator("listCustomers", query=f"?email={address[:10].upper()}")["customers"] == [made]
    operator("eraseCustomer", id=made["id"], key=f"e-{address}")
    operator("eraseCustomer", id=made["id"], key=f"e-{address}")
    operator("getCustomer", id=made["id"], status=404)
    operator("getCustomer", id="nonsense", status=404)
    operator("login", {"email": address, "password": PASSWORD}, status=401)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("", 401),
        ("Basic abc", 401),
        ("Bearer wrong", 403),
        ("Bearer eos_" + "x" * 43, 403),
        ("Bearer eok_" + "x" * 500, 403),
        (b"Bearer k\xff", 403),
    ],
)
def test_staff_calls_ask_for_a_token(shop: ShopUnderTest, value: Any, status: int) -> None:
    raw = value if isinstance(value, bytes) else value.encode()
    answer = shop.client.get("/api/staff", headers=[(b"authorization", raw)])
    assert answer.status_code == status
    good = shop.client.get("/api/staff", headers={"authorization": f"bearer {OPERATOR}"})
    assert good.status_code == 200


def test_rule_10_roles_second_factor_tamper_evident_log_and_keys_with_scopes(
    shop: ShopUnderTest, visitor: Visitor
) -> None:
    """One story: staff with a role and a second factor, a key with a scope, a log that shows who did it and who lied."""
    sku = shop.product()
    _, support, secret = enrol(visitor, "support")
    _, catalogue, _ = enrol(visitor, "catalogue")
    receipt = {"items": [{"sku": sku, "quantity": 1}], "reason": f"rule 10 {sku}"}

    def receive(token: str) -> int:
        bearer = {"authorization": f"Bearer {token}"}
        return shop.client.post("/api/stock/receipts", json=receipt, headers=bearer).status_code

    assert (receive(support), receive(catalogue)) == (403, 201)  # roles
    used = {"login": visitor("getStaffMe", token=support)["account"]["login"], "password": PASSWORD}
    spent = pyotp.TOTP(secret).now()
    visitor("staffLogin", {**used, "code": spent}, token="", status=401)  # two-factor, a code once
    key = visitor("addKey", {"name": "pos", "scopes": ["stock:write"], "days": 1}, token=OPERATOR)["token"]
    reads = visitor("addKey", {"name": "bi", "scopes": ["orders:read"], "days": 1}, token=OPERATOR)["token"]
    assert (receive(key), receive(reads)) == (201, 403)  # keys with scopes
    (row, *_) = visitor("listAuditLog", query="?action=receipt&actor=key:pos", token=OPERATOR)["entries"]
    assert sku in row["detail"]

    async def tamper() -> tuple[list[Any], list[Any]]:
        async with shop.database.connect("postgres") as connection:
            transaction = connection.transaction()
            await transaction.start()
            honest = await connection.fetch(audit.SQL["audit_log_is_chained"])
            await connection.execute(
                "UPDATE audit_log SET actor = 'operator' WHERE sequence = $1", row["sequence"]
            )
            forged = await connection.fetch(audit.SQL["audit_log_is_chained"])
            await transaction.rollback()
            return honest, forged

    honest, forged = asyncio.run(tamper())
    assert honest == []
    assert f"row {row['sequence']} of" in forged[0][0]


def test_every_call_of_people_was_made_here() -> None:
    assert called == set(ROUTES)
