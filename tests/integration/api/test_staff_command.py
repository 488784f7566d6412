"""`everopen staff` against a real worker: what its commands do, and what they print."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any, get_args

import httpx
import pytest
from click.testing import CliRunner

from everopen.base.errors import InputError
from everopen.cli import staff
from everopen.cli.replay_client import Refused, ShopClient
from everopen.trading.people.roles import RoleName
from tests.integration.api.conftest import ShopUnderTest
from tests.integration.api.worker_process import OPERATOR_KEY


@pytest.fixture
def run(shop: ShopUnderTest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command against the worker's socket."""
    made = ShopClient.__init__

    def over_socket(self: ShopClient, url: str, **facts: Any) -> None:
        made(self, url, transport=httpx.AsyncHTTPTransport(uds=str(shop.worker.socket)), **facts)

    monkeypatch.setattr(ShopClient, "__init__", over_socket)
    monkeypatch.setenv("EVEROPEN_OPERATOR_KEY", OPERATOR_KEY)

    def call(*arguments: str) -> str:
        done = CliRunner().invoke(staff.staff_group, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return call


def test_the_roles_of_the_command_are_the_shops() -> None:
    assert set(staff.ROLES) == set(get_args(RoleName))


def test_an_account_is_made_listed_reset_and_ended(shop: ShopUnderTest, run: Any) -> None:
    login = f"joe-{uuid.uuid4().hex[:8]}"
    made = json.loads(run("add", login, "--role", "support", "--role", "catalogue", "--json"))
    assert made["account"]["roles"] == ["support", "catalogue"]
    body = {"login": login, "password": made["password"]}
    assert shop.client.post("/api/staff/login", json=body).status_code == 200
    assert login in run("list")
    text = run("reset", login.upper(), "--second-factor")
    assert shop.client.post("/api/staff/login", json=body).status_code == 401
    password = text.splitlines()[1].strip()
    assert shop.client.post("/api/staff/login", json={**body, "password": password}).status_code == 200
    assert "can't get in" in run("end", login)
    assert shop.client.post("/api/staff/login", json={**body, "password": password}).status_code == 401
    assert [item["active"] for item in json.loads(run("list", "--json")) if item["login"] == login] == [False]
    with pytest.raises(InputError):
        run("reset", "nobody")
    with pytest.raises(Refused):
        run("add", login, "--role", "support")


def test_a_key_is_made_listed_and_revoked(shop: ShopUnderTest, run: Any) -> None:
    name = f"erp-{uuid.uuid4().hex[:8]}"
    token = run("key", name, "--scope", "audit:read", "--days", "1").splitlines()[1].strip()
    bearer = {"authorization": f"Bearer {token}"}
    assert shop.client.get("/api/audit-log", headers=bearer).status_code == 200
    assert name in run("list", "--keys")
    assert run("key", name, "--revoke") == "Ended 1 keys.\n"
    assert shop.client.get("/api/audit-log", headers=bearer).status_code == 403
    assert run("key", name, "--revoke") == "Ended 0 keys.\n"


def test_what_it_does_is_in_the_log(run: Any, shop: ShopUnderTest) -> None:
    async def entries() -> list[dict[str, Any]]:
        transport = httpx.AsyncHTTPTransport(uds=str(shop.worker.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            answer = await client.get(
                "/api/audit-log?action=staff-added&limit=1",
                headers={"authorization": f"Bearer {OPERATOR_KEY}"},
            )
            found: list[dict[str, Any]] = answer.json()["entries"]
            return found

    login = f"joe-{uuid.uuid4().hex[:8]}"
    run("add", login, "--role", "auditor")
    (entry,) = asyncio.run(entries())
    assert (entry["actor"], entry["detail"]) == ("operator", f"{login}: auditor")
