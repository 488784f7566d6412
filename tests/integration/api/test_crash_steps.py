"""A worker is killed after every single step of an order's life, and each life ends as it would have without that.

The steps are found, not listed: one life is watched, and then there is one more for each step that was seen in it, with a
worker that dies right after that step. Clients do what clients do: they ask again with the same key."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from everopen.trading import audit
from everopen.trading.payments.sandbox import SandboxProvider
from tests.integration.api.worker_process import OPERATOR_KEY, Running, can_connect, create_shop_database
from tests.support.postgres import running_node

SETTINGS = {
    "payer_lease_s": 3.0,
    "payer_timeout_s": 1.0,
    "payer_poll_s": 0.1,
    "documents_s": 0.5,
    "jobs_poll_s": 0.1,
    "jobs_lease_s": 1.0,
}
STAFF = {"Authorization": f"Bearer {OPERATOR_KEY}"}
REPEATED_MAX = 3
LOOKS_MAX = 1
"""Of a step that comes again and again so many are tried; of a regular look for due work, the first."""
LOOKS = re.compile(r"_claim_some|\.turn\.|Runner\._try|issue_documents|:announce_low_stock")
READS = re.compile(r":find_|_of\.|:products_named|Quoting\._load|\.look#")
"""Nothing is committed: to die after one of these is to die after the step before it."""


class Scene:
    """A shop of one worker, whose worker is replaced whenever it is gone."""

    def __init__(self, folder: Path, database: Any) -> None:
        self.folder = folder
        self.database = database
        self.log = folder / "steps.log"
        self.payments = Running(
            "payments",
            folder / "payments.sock",
            books=str(folder / "books.sqlite"),
            sandbox={"webhook_url": f"unix:{folder / 'worker.sock'}:/api/payments/sandbox/webhooks"},
        )
        self.worker: Running | None = None
        self.deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker is not None:
            self.worker.end()
        self.payments.end()

    def start(self, die_at: str | None = None) -> None:
        """A fresh worker in the place of the present one."""
        if self.worker is not None:
            self.worker.end()
        self.deaths = 0
        self._start(die_at)

    def _start(self, die_at: str | None) -> None:
        while True:
            self.log.write_text("")
            self.worker = Running(
                "worker",
                self.folder / "worker.sock",
                topology_file=str(self.database.topology_file),
                payments_socket=str(self.folder / "payments.sock"),
                trading=SETTINGS,
                steps=str(self.log),
                die_at=die_at,
            )
            try:
                self.worker.wait_until("/readyz")
                return
            except (RuntimeError, httpx.HTTPError):  # it was told to die at its start already
                assert self.gone(), self.worker.log.read_text()[-2000:]
                self.worker.client.close()
                self.deaths += 1
                die_at = None

    def gone(self) -> bool:
        assert self.worker is not None
        try:
            self.worker.process.wait(0.5)
        except Exception:
            return False
        return True

    def ask(self, method: str, path: str, body: Any = None, *, good: Callable[[httpx.Response], bool]) -> Any:
        """Asks under one key until the answer is good; a worker that died is replaced."""
        headers = {**STAFF, "Idempotency-Key": uuid.uuid4().hex}
        deadline = time.monotonic() + 40.0
        said = ""
        while time.monotonic() < deadline:
            assert self.worker is not None
            try:
                if not can_connect(self.worker.socket):  # (httpcore leaves a socket open that finds nobody)
                    raise httpx.ConnectError("nobody listens")
                answer = self.worker.client.request(method, path, json=body, headers=headers, timeout=10.0)
                if good(answer):
                    return answer.json()
                said = f"{answer.status_code} {answer.text[:500]}"
                time.sleep(0.05)
            except httpx.HTTPError as error:
                said = repr(error)
                if self.gone():
                    self.deaths += 1
                    self.worker.client.close()
                    self._start(None)
        raise AssertionError(f"{method} {path}: {said}")

    def post(self, path: str, body: Any) -> Any:
        return self.ask("POST", path, body, good=lambda answer: answer.status_code in (200, 201, 202))

    def until(self, path: str, good: Callable[[Any], bool]) -> Any:
        return self.ask("GET", path, good=lambda answer: answer.status_code == 200 and good(answer.json()))

    def order(self, **payment: str) -> str:
        body = {
            "lines": [{"sku": "LIFE", "quantity": 2}],
            "customer": {"email": "life@example.com"},
            "payment": {"provider": "sandbox", "token": "tok_approve", **payment},
        }
        return str(self.post("/api/orders", body)["id"])

    def status(self, order: str, status: str) -> None:
        self.until(f"/api/orders/{order}", lambda found: found["status"] == status)

    def payments_are(self, order: str, **kinds: str) -> None:
        """Waits until the newest payment of each kind has this status."""

        def good(found: Any) -> bool:
            last = {payment["kind"]: payment["status"] for payment in found["payments"]}
            return all(last.get(kind) == status for kind, status in kinds.items())

        self.until(f"/api/orders/{order}/payments", good)


def live(scene: Scene) -> None:
    """Three orders: one that is sent in two parcels and comes back, one whose money is taken later, one that is given up."""
    order = scene.order()
    scene.status(order, "paid")
    scene.post(
        f"/api/orders/{order}/shipments", {"lines": [{"sku": "LIFE", "quantity": 1}], "carrier": "Post"}
    )
    scene.post(f"/api/orders/{order}/shipments", {})
    scene.post(f"/api/orders/{order}/complete", {})
    rma = scene.post(f"/api/orders/{order}/returns", {"reason": "too small"})["rma"]
    scene.post(f"/api/orders/{order}/returns/{rma}/receive", {})
    scene.post(
        f"/api/orders/{order}/returns/{rma}/inspect", {"lines": [{"sku": "LIFE", "good": 1, "damaged": 1}]}
    )
    scene.status(order, "returned")
    scene.payments_are(order, charge="captured", refund="refunded")
    scene.until(f"/api/orders/{order}/credit-notes", lambda found: len(found["credit_notes"]) == 1)

    later = scene.order(capture="manual")
    scene.status(later, "authorised")
    scene.post(f"/api/orders/{later}/captures", {"amount": {"amount": 700, "currency": "GBP"}})
    scene.payments_are(later, capture="captured")
    scene.post(f"/api/orders/{later}/captures", {})
    scene.status(later, "paid")
    scene.until(f"/api/orders/{later}/invoice", lambda found: bool(found["number"]))

    given_up = scene.order(capture="manual")
    scene.status(given_up, "authorised")
    scene.post(f"/api/orders/{given_up}/cancel", {"reason": "changed my mind"})
    scene.status(given_up, "cancelled")
    scene.payments_are(given_up, void="voided")


def problems(scene: Scene) -> list[str]:
    """What the audit finds, the provider's books included."""

    async def look() -> list[str]:
        provider = SandboxProvider(scene.folder / "payments.sock", 5.0)
        try:
            async with scene.database.connect("everopen_audit") as connection:
                report = await audit.run(connection, books=provider.books)
        finally:
            await provider.close()
        return [f"{check.name}: {check.detail}" for check in report.checks if not check.ok]

    return asyncio.run(look())


def stock(scene: Scene) -> int:
    return int(scene.until("/api/products/LIFE", lambda found: True)["available"])


def die_at_each(labels: Iterable[str] | None) -> tuple[list[str], dict[str, str], int]:
    """Lives one life per label (one, undisturbed, for None) in a shop of its own. Returns the steps seen last, what went
    wrong by label, and how many workers died."""
    wrong: dict[str, str] = {}
    died = 0
    seen: list[str] = []
    with running_node() as node, tempfile.TemporaryDirectory(prefix="everopen-steps-", dir="/tmp") as folder:
        with Scene(Path(folder), asyncio.run(create_shop_database(node))) as scene:
            scene.start()
            product = {"sku": "LIFE", "title": "A life", "price": {"amount": 1000, "currency": "GBP"}}
            scene.ask("PUT", "/api/products", {"products": [product]}, good=lambda a: a.status_code == 200)
            scene.post(
                "/api/stock/receipts", {"items": [{"sku": "LIFE", "quantity": 10_000}], "reason": "all"}
            )
            for label in labels if labels is not None else (None,):
                scene.start(label)
                before = stock(scene)
                try:
                    live(scene)
                    # One came back good, one damaged; two were sold; two were given up.
                    if (left := stock(scene)) != before - 3:
                        wrong[label or ""] = f"{before - left} pieces are gone instead of 3"
                    if found := problems(scene):
                        wrong[label or ""] = "; ".join(found)
                except AssertionError as error:
                    wrong[label or ""] = str(error)[:800]
                died += scene.deaths
                seen = scene.log.read_text().split()
    return seen, wrong, died


def of_interest(labels: Iterable[str]) -> list[str]:
    """The steps that left something behind, each a few times."""

    def wanted(label: str) -> bool:
        most = LOOKS_MAX if LOOKS.search(label) else REPEATED_MAX
        return not READS.search(label) and int(label.rpartition("#")[2]) <= most

    return [label for label in dict.fromkeys(labels) if wanted(label)]


@pytest.mark.timeout(900)
def test_a_worker_killed_after_any_step_of_an_orders_life_changes_nothing_of_its_end() -> None:
    seen, wrong, died = die_at_each(None)
    assert (wrong, died) == ({}, 0)
    labels = of_interest(seen)
    assert len(labels) > 20
    assert {"provider:charge#1", "provider:capture#1", "provider:refund#1", "provider:void#1"} <= set(labels)
    _, wrong, died = die_at_each(labels)
    assert wrong == {}
    # (A look for due work may come a time less often than in the life that was watched.)
    assert died >= 0.8 * len(labels)
