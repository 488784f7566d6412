"""The shop as a staff client sees it: HTTP with keys, retried until an answer is certain.

Every writing call carries an idempotency key, so after a lost connection or a 503 it is simply sent again, and counts once.
What is not retried is a refusal (4xx): it would be refused again.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from everopen.base.errors import EveropenError, InputError, NotRunning
from everopen.base.home import home_from_environment

DEFAULT_URL = "http://127.0.0.1:8080"
PAGE = 200
RETRY_S_MAX = 1.0


class Refused(EveropenError):
    """The shop refused a request."""

    def __init__(self, status: int, problem: dict[str, Any], what: str) -> None:
        self.status = status
        self.problem = problem
        detail = problem.get("detail") or problem.get("title") or "no reason given"
        super().__init__(f"The shop refused {what} ({status}): {detail}", "")


def find_url(given: str | None = None) -> str:
    """The shop's address: the argument, else EVEROPEN_URL, else the default of `everopen up`."""
    url = given or os.environ.get("EVEROPEN_URL") or DEFAULT_URL
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url!r} is no address of a shop.", f"Expected e.g. {DEFAULT_URL}.")
    return url.rstrip("/")


def find_operator_key() -> str:
    """EVEROPEN_OPERATOR_KEY, else what the shop in EVEROPEN_HOME keeps in its secrets."""
    given = os.environ.get("EVEROPEN_OPERATOR_KEY")
    if given:
        return given
    secrets_file = home_from_environment().secrets_file
    try:
        key = json.loads(secrets_file.read_text())["operator_key"]
    except FileNotFoundError:
        raise NotRunning(
            f"There is no operator key: {secrets_file} doesn't exist and EVEROPEN_OPERATOR_KEY is not set.",
            "Run this beside the shop (same EVEROPEN_HOME), or set EVEROPEN_OPERATOR_KEY.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(
            f"{secrets_file} can't be used ({problem!r}).", "Set EVEROPEN_OPERATOR_KEY."
        ) from None
    return str(key)


def read_secret(home: Path, name: str) -> str:
    """One secret of a home that is ours."""
    return str(json.loads((home / "secrets.json").read_text())[name])


class ShopClient:
    """Calls of the public API with the operator's key. Use as `async with`."""

    def __init__(
        self,
        url: str,
        *,
        operator_key: str,
        connections: int = 16,
        patience_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self.retries = 0
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {operator_key}"},
            timeout=httpx.Timeout(40.0, connect=5.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(
        self, method: str, path: str, body: Any = None, key: str | None = None
    ) -> tuple[dict[str, Any], bool]:
        """The decoded answer, and whether it was replayed. Raises Refused on 4xx, NotRunning when nothing answers."""
        headers = {} if key is None else {"idempotency-key": key}
        deadline = time.monotonic() + self._patience_s
        pause_s = 0.02
        while True:
            trouble: str
            try:
                answer = await self._http.request(method, path, json=body, headers=headers)
            except httpx.TransportError as problem:
                trouble = f"{type(problem).__name__}: {problem}"
            else:
                if answer.status_code < 400:
                    return answer.json(), answer.headers.get("idempotency-replayed") == "true"
                if answer.status_code not in (502, 503, 504):
                    raise Refused(answer.status_code, _problem(answer), f"{method} {path}")
                trouble = f"{answer.status_code} {_problem(answer).get('detail', '')}"
            if time.monotonic() > deadline:
                raise NotRunning(
                    f"The shop at {self.url} gave no answer to {method} {path} for {self._patience_s:.0f} s ({trouble}).",
                    "`everopen status` shows its state; start one with `everopen up`, or name it with --url.",
                )
            self.retries += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_S_MAX)

    async def staff(self, path: str, body: Any, key: str) -> dict[str, Any]:
        """A POST with its key; a repeat answers as the first time did."""
        return (await self.call("POST", path, body, key))[0]

    async def put_products(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        """Adds or changes products; the same call again changes nothing."""
        return (await self.call("PUT", "/api/products", {"products": entries}))[0]

    async def products(self) -> dict[str, dict[str, Any]]:
        """All products that the shop shows, by SKU."""
        found: dict[str, dict[str, Any]] = {}
        after: str | None = None
        while True:
            page = (
                await self.call(
                    "GET", f"/api/products?limit={PAGE}" + (f"&after={quote(after)}" if after else "")
                )
            )[0]
            for entry in page["products"]:
                found[entry["sku"]] = entry
            after = page.get("next")
            if after is None:
                return found

    async def product(self, sku: str) -> dict[str, Any] | None:
        """One product, None when there is none."""
        try:
            return (await self.call("GET", f"/api/products/{quote(sku, safe='')}"))[0]
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def order(self, order_id: str) -> dict[str, Any]:
        """An order as it is now."""
        return (await self.call("GET", f"/api/orders/{order_id}"))[0]


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {"detail": answer.text[:200]}
    return found if isinstance(found, dict) else {"detail": str(found)[:200]}
