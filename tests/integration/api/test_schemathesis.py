"""schemathesis against a real worker: whatever the document allows, and what it doesn't, is answered as the document says.

Each call gets requests made from its schema and requests that break it. Of each answer: no server error, a status that is
documented, its content type, its schema. Seeded, without shrinking, and as many requests per call as fit the time."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from everopen import __version__
from everopen.api.openapi import document
from everopen.api.table import TABLE
from tests.integration.api.conftest import STAFF, ShopUnderTest
from tests.integration.api.worker_process import create_shop_database, running_shop
from tests.support.postgres import running_node

SEED = 20261123
SECONDS = 75.0
"""For all calls together; a call may take its share and what others left."""
EXAMPLES_MOST = 50
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NAMES = [route.name for route in TABLE if not route.page]
STREAM = "text/event-stream"
REAL = {
    "currency": "GBP",
    "provider": "sandbox",
    "token": "tok_approve",
    "email": "ann@example.com",
    "country": "GB",
}
"""What texts of that name must be for the shop to take them up."""


@cache
def operations() -> dict[str, Any]:
    """The document's calls as schemathesis has them."""
    schema = schemathesis.openapi.from_dict(document(TABLE, shop_name="Shop", version=__version__))
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


class Known:
    """What is there: ids and SKUs that answers named, so that requests also meet something that exists."""

    def __init__(self, shop: ShopUnderTest) -> None:
        self.skus = [shop.product(stock=1000, price=100) for _ in range(3)]
        orders = [shop.order(self.skus[0], 2).json()["id"] for _ in range(6)]
        for order in orders[:3]:
            shop.settled(order)
        self.ids: dict[str, list[str]] = defaultdict(list, {"orders": orders})

    def learn(self, path: str, answer: Any) -> None:
        """Notes ids in an answer under the collection that it came from."""
        collection = path.split("/")[2] if path.count("/") >= 2 else ""
        entries = [answer] if isinstance(answer, dict) else []
        entries += [
            item
            for value in (answer.values() if entries else ())
            if isinstance(value, list)
            for item in value
        ]
        for entry in entries:
            if isinstance(entry, dict) and isinstance(entry.get("id"), str | int):
                self.ids[collection] = [*self.ids[collection], str(entry["id"])][-20:]

    def enliven(self, case: Any, path: str, pick: int) -> None:
        """Puts what exists into a request."""
        collection = path.split("/")[2] if path.count("/") >= 2 else ""
        for name in list(case.path_parameters or {}):
            pool = self.skus if name == "sku" else self.ids[collection]
            if pool:
                case.path_parameters[name] = pool[pick % len(pool)]
        case.body = self._real(case.body, {**REAL, "sku": self.skus[pick % len(self.skus)]})

    def _real(self, value: Any, facts: dict[str, str]) -> Any:
        if isinstance(value, dict):
            return {
                name: facts[name] if isinstance(item, str) and name in facts else self._real(item, facts)
                for name, item in value.items()
            }
        return [self._real(item, facts) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[ShopUnderTest]:
    """A shop of its own: nobody else's tests should meet the promotions and tax rates that this leaves."""
    with running_node() as node, tempfile.TemporaryDirectory(prefix="everopen-fuzz-", dir="/tmp") as folder:
        database = asyncio.run(create_shop_database(node))
        with running_shop(Path(folder), database.topology_file) as worker:
            yield ShopUnderTest(worker, database)


@pytest.fixture(scope="module")
def known(fuzzed: ShopUnderTest) -> Known:
    return Known(fuzzed)


@pytest.fixture(scope="module")
def clock() -> dict[str, float]:
    """How much time is left for how many calls."""
    return {"left_s": SECONDS, "calls": float(len(NAMES))}


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_as_the_document_says(
    name: str, fuzzed: ShopUnderTest, known: Known, clock: dict[str, float]
) -> None:
    operation = operations()[name]
    raw = operation.definition.raw
    share_s = clock["left_s"] / clock["calls"]
    clock["calls"] -= 1
    if any(STREAM in answer.get("content", {}) for answer in raw["responses"].values()):
        return  # it never ends; test_events has it
    begun = time.monotonic()
    good, bad = (operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode)

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES_MOST,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of(good, good, bad), pick=st.integers(0, 999), real=st.booleans(), staff=st.integers(0, 9)
    )
    def ask(case: Any, pick: int, real: bool, staff: int) -> None:
        if time.monotonic() - begun > share_s:
            return  # drawn before: hypothesis takes a draw that is left out for a strategy that wavers
        if real:
            known.enliven(case, operation.path, pick)
            if operation.path in ("/api/checkout", "/api/cart"):
                fuzzed.client.post("/api/cart/lines", json={"sku": known.skus[pick % 3]})
        else:
            fuzzed.client.cookies.clear()
        if staff and raw.get("security"):
            case.headers = {**(case.headers or {}), **STAFF}
        answer = send(fuzzed, case)
        if answer is None:
            return  # drawn before: hypothesis takes a draw that is left out for a strategy that wavers
        if answer.status_code < 300 and "json" in answer.headers.get("content-type", ""):
            known.learn(operation.path, answer.json())
        case.validate_response(answer, checks=CHECKS)

    ask()
    clock["left_s"] -= time.monotonic() - begun


def send(shop: ShopUnderTest, case: Any) -> Any:
    """The worker's answer; None for what no HTTP client can put into a request."""
    import requests

    asked = case.as_transport_kwargs(base_url="http://shop")
    asked.pop("timeout", None)
    try:
        ready = requests.Request(
            **{
                name: value
                for name, value in asked.items()
                if name in ("method", "url", "headers", "params", "data", "json", "files", "cookies")
            }
        ).prepare()
        headers = {
            str(name): value if isinstance(value, str) else value.decode("latin-1")
            for name, value in ready.headers.items()
        }
    except (requests.RequestException, UnicodeError, ValueError):
        return None
    body = ready.body.encode() if isinstance(ready.body, str) else ready.body
    if any(re.search(r"[^\x20-\xff]|^\s|\s$", value) for value in headers.values()):
        return None
    try:
        return shop.client.request(
            ready.method, f"http://shop{ready.path_url}",
            headers={name: value.encode("latin-1") for name, value in headers.items()}, content=body,
        )  # fmt: skip
    except (UnicodeError, ValueError):
        return None


def test_the_document_is_valid_openapi() -> None:
    found = document(TABLE, shop_name="Shop", version=__version__)
    assert found["openapi"].startswith("3.1")
    assert len(operations()) == len(NAMES)
    json.dumps(found)
