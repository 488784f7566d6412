"""A few buyers with patience and a good memory: each buys, looks, fills a cart, and writes down what it saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

import httpx

from everopen.drill.history import outcome_of
from everopen.drill.history_operations import Kind, Operation

PAUSE_S = 0.004
PATIENCE_S = 15.0
RETRY_S = 0.02


class Buyer:
    """One client: one request at a time, one session."""

    def __init__(self, name: str, url: str, write: Callable[[Operation], None]) -> None:
        self.name = name
        self._http = httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False)
        self._write = write
        self._keys = 0

    def close(self) -> None:
        """Hangs up."""
        self._http.close()

    def order(
        self, sku: str, quantity: int = 1, *, key: str | None = None, patience_s: float = PATIENCE_S
    ) -> Operation:
        """Buys; sends again under the same key when the connection breaks."""
        body = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "customer": {"email": "buyer@example.org"},
            "payment": {"provider": "sandbox", "token": "tok_approve"},
        }
        return self._ask(
            "order", "POST", "/api/orders", body, lines=((sku, quantity),), key=key, patience_s=patience_s
        )

    def look_at_order(self, order: str) -> Operation:
        """Reads an order back."""
        return self._ask("read_order", "GET", f"/api/orders/{order}", order=order)

    def look_at_stock(self, sku: str) -> Operation:
        """Reads what is available."""
        return self._ask("read_stock", "GET", f"/api/products/{sku}", lines=((sku, 0),))

    def add(self, sku: str, quantity: int) -> Operation:
        """Puts something into the cart."""
        body = {"sku": sku, "quantity": quantity}
        return self._ask("cart_add", "POST", "/api/cart/lines", body, lines=((sku, quantity),))

    def set(self, sku: str, quantity: int) -> Operation:
        """Changes how many are in the cart."""
        return self._ask(
            "cart_set", "PATCH", f"/api/cart/lines/{sku}", {"quantity": quantity}, lines=((sku, quantity),)
        )

    def look_at_cart(self) -> Operation:
        """Reads the cart."""
        return self._ask("read_cart", "GET", "/api/cart")

    def new_key(self) -> str:
        """A key that nobody used."""
        self._keys += 1
        return f"{self.name}-{self._keys}"

    def _ask(
        self,
        kind: Kind,
        method: str,
        path: str,
        body: Any = None,
        *,
        lines: tuple[tuple[str, int], ...] = (),
        key: str | None = None,
        order: str = "",
        patience_s: float = PATIENCE_S,
    ) -> Operation:
        key = "" if method == "GET" else key or self.new_key()
        sent, tries, answer, outcome = time.time(), 0, None, "broken"
        patience = httpx.Timeout(PATIENCE_S, read=patience_s)
        while answer is None and time.time() < sent + PATIENCE_S:
            tries += 1
            try:
                headers = {"Idempotency-Key": key} if key else {}
                answer = self._http.request(method, path, json=body, headers=headers, timeout=patience)
            except httpx.ReadTimeout:
                outcome = "timeout"
                break
            except httpx.TransportError:
                time.sleep(RETRY_S)
        ended = time.time()
        document: dict[str, Any] = {}
        if answer is not None:
            outcome = outcome_of(answer.status_code)
            document = answer.json()
            if answer.status_code == 201 and kind != "order":
                outcome = "done"
        operation = Operation(
            client=self.name, kind=kind, sent=sent, ended=ended, outcome=outcome,
            status=0 if answer is None else answer.status_code, key=key, tries=tries,
            replayed=answer is not None and answer.headers.get("idempotency-replayed") == "true",
            lines=lines, seen=_seen(kind, outcome, lines, document), order=str(document.get("id", order)),
            order_status=str(document.get("status", "")) if kind in ("order", "read_order") else "",
            total=document["total"]["amount"] if kind in ("order", "read_order") and "total" in document else None,
        )  # fmt: skip
        self._write(operation)
        return operation


def _seen(
    kind: str, outcome: str, lines: tuple[tuple[str, int], ...], document: dict[str, Any]
) -> tuple[tuple[str, int], ...]:
    if outcome == "sold_out" or (kind == "read_stock" and outcome == "read"):
        return ((document.get("sku", lines[0][0]), document["available"]),)
    return tuple((line["sku"], line["quantity"]) for line in document.get("lines", ()))


Act = Callable[[Buyer, int], None]
"""What a buyer does in its n-th round."""


class Buyers:
    """Several buyers side by side, each repeating one act until the `with` ends."""

    def __init__(self, url: str, act: Act, *, count: int, prefix: str, rounds: int | None = None) -> None:
        self.operations: list[Operation] = []
        self._act = act
        self._rounds = rounds
        self._stop = threading.Event()
        self._problems: list[BaseException] = []
        self._buyers = [Buyer(f"{prefix}-{number}", url, self.operations.append) for number in range(count)]
        self._threads = [
            threading.Thread(target=self._go, args=(buyer,), daemon=True) for buyer in self._buyers
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rounds is None:
            self._stop.set()
        for thread in self._threads:
            thread.join(60)
        for buyer in self._buyers:
            buyer.close()
        if self._problems:
            raise self._problems[0]

    def _go(self, buyer: Buyer) -> None:
        number = 0
        try:
            while not self._stop.is_set() and number != self._rounds:
                self._act(buyer, number)
                number += 1
                time.sleep(PAUSE_S)
        except BaseException as problem:
            self._problems.append(problem)

    def until(self, acknowledged: int) -> None:
        """Waits for so many acknowledged orders from now on."""
        wanted = self.acknowledged() + acknowledged
        deadline = time.monotonic() + 30
        while self.acknowledged() < wanted:
            assert not self._problems, self._problems
            assert time.monotonic() < deadline, self.operations[-3:]
            time.sleep(0.01)

    def acknowledged(self) -> int:
        """Acknowledged orders so far."""
        return sum(operation.outcome == "acknowledged" for operation in list(self.operations))
