"""Workers and the primary are killed while people register, log in and change passwords: none of their requests fails, and what
counts once (a reset's token, a code of the second factor) is spent by the request that was sent again, not by nobody."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from typing import Any

import httpx
import pyotp

from tests.support.shop import Shop

PASSWORD, NEW = "correct horse battery", "staple of another kind"


class Somebody(threading.Thread):
    """Goes through everything again and again until told to stop; keeps what was not answered as it should."""

    def __init__(self, shop: Shop, kind: str) -> None:
        super().__init__(daemon=True)
        self.shop = shop
        self.kind = kind
        self.rounds = 0
        self.wrong: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.shop.url, timeout=40) as client:
            while not self.ended.is_set():
                try:
                    getattr(self, self.kind)(client)
                    self.rounds += 1
                except (AssertionError, httpx.TransportError, KeyError) as problem:
                    self.wrong.append(repr(problem))
                client.cookies.clear()
                time.sleep(0.1)

    def ask(self, client: httpx.Client, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        answer = client.post(path, json=body, headers=headers)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:200]}"
        return answer.json()

    def customer(self, client: httpx.Client) -> None:
        mail = {"email": f"{uuid.uuid4().hex}@example.org"}
        self.ask(client, "/api/customers", {**mail, "password": PASSWORD}, 201)
        self.ask(client, "/api/login", {**mail, "password": PASSWORD})
        self.ask(client, "/api/me/password", {"current": PASSWORD, "new": NEW})
        self.ask(client, "/api/password-resets", mail, 202)
        self.ask(client, "/api/login", {**mail, "password": NEW})
        assert client.get("/api/me").json()["email"] == mail["email"]

    def staff(self, client: httpx.Client) -> None:
        operator = f"Bearer {self.shop.operator_key}"
        login = uuid.uuid4().hex
        made = self.ask(
            client, "/api/staff", {"login": login, "roles": ["support"]}, 201, authorization=operator
        )
        entry = self.ask(client, "/api/staff/login", {"login": login, "password": made["password"]})
        me = f"Bearer {entry['token']}"
        change = {"current": made["password"], "new": PASSWORD}
        self.ask(client, "/api/staff/me/password", change, authorization=me)
        offer = self.ask(client, "/api/staff/me/second-factor", {"password": PASSWORD}, authorization=me)
        app, now = pyotp.TOTP(offer["secret"]), int(time.time())
        self.ask(client, "/api/staff/me/second-factor/confirm", {"code": app.at(now)}, authorization=me)
        both = {"login": login, "password": PASSWORD, "code": app.at(now + 30)}
        again = self.ask(client, "/api/staff/login", both)
        assert (again["missing"], again["account"]["login"]) == ([], login)
        self.ask(client, "/api/staff/login", both, 401)


def test_a_killed_worker_or_primary_fails_nobody_who_logs_in(shop: Shop) -> None:
    people = [Somebody(shop, kind) for kind in ("customer", "customer", "staff", "staff")]
    for somebody in people:
        somebody.start()
    for role in ("worker", "worker", "primary", "worker", "worker"):
        time.sleep(1.2)
        os.kill(shop.pids(role)[0], signal.SIGKILL)
    time.sleep(2.0)
    for somebody in people:
        somebody.ended.set()
    for somebody in people:
        somebody.join(60)
    assert [wrong for somebody in people for wrong in somebody.wrong] == []
    assert min(somebody.rounds for somebody in people) >= 1
    shop.until_whole()
    checks = {
        check["name"]: check["ok"] for check in json.loads(shop.run("audit", "--json").stdout)["checks"]
    }
    assert checks["audit_log_is_chained"]
    assert checks["sessions_lead_to_own_carts"]
