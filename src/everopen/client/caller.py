"""One call: built, sent, repeated under the same idempotency key until there is an answer, and decoded.

Every write carries a key. A lost connection, a timeout or "later" from the shop is then never a question for the caller: the
same key is sent again, and the shop answers what it did. What ends a call is its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from everopen.base.clock import Clock, Rng, SystemClock
from everopen.client.attempts import RETRIED, Budget, pause_s
from everopen.client.errors import OutcomeUnknown, refused

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a client behaves."""

    url: str
    bearer: str | None = None
    """An API key or the operator key, for calls of staff."""
    deadline_s: float = 30.0
    """How long a call may take with all of its tries."""
    attempt_s: float = 10.0
    """How long one try may take."""
    attempts_most: int = 20


class _Shared:
    """What the visitors of one client have in common."""

    def __init__(
        self,
        options: Options,
        transport: httpx.AsyncBaseTransport | None,
        clock: Clock | None,
        rng: Rng | None,
    ) -> None:
        no_jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # cookies are kept per visitor
        self.http = httpx.AsyncClient(
            base_url=options.url,
            transport=transport,
            cookies=no_jar,
            trust_env=False,
            timeout=options.attempt_s,
        )
        self.budget = Budget()
        self.clock: Clock = clock or SystemClock()
        self.rng = rng or Rng()


class Caller:
    """What all calls share: connections, key, budget of retries; and the cookies of one visitor."""

    def __init__(
        self,
        options: Options,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        rng: Rng | None = None,
        beside: Caller | None = None,
    ) -> None:
        self.options = options
        self.cookies: dict[str, str] = {}
        """This visitor's: the session of his cart and login."""
        self._shared: _Shared = (
            beside._shared if beside is not None else _Shared(options, transport, clock, rng)
        )
        self._http: httpx.AsyncClient = self._shared.http

    async def aclose(self) -> None:
        """Closes the connections, also those of other visitors of this client."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        answer: Any,
        *,
        places: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        body: Any = None,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """The decoded answer. Raises `Refused` (see its kinds) or `OutcomeUnknown`."""
        for name, value in (places or {}).items():
            path = path.replace("{" + name + "}", quote(str(value), safe=""))
        sent = {name: str(value) for name, value in (headers or {}).items() if value is not None}
        if method != "GET":
            key = key or str(uuid4())
            sent["idempotency-key"] = key
        if self.options.bearer is not None:
            sent["authorization"] = f"Bearer {self.options.bearer}"
        content = None
        if body is not None:
            content = _encode(body)
            sent["content-type"] = "application/json"
        asked = [
            (name, _text(item))
            for name, value in (query or {}).items()
            if value is not None
            for item in (value if isinstance(value, list) else [value])
        ]
        response = await self._repeat(
            method, path, sent, asked, content, key, deadline_s or self.options.deadline_s
        )
        if response.status_code >= 400:
            raise refused(response.status_code, response.content, key=key)
        if answer is None:
            return None
        if answer is bytes:
            return response.content
        return msgspec.json.decode(response.content, type=answer)

    async def _repeat(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        query: list[tuple[str, Any]],
        content: bytes | None,
        key: str | None,
        deadline_s: float,
    ) -> httpx.Response:
        end_s = self._shared.clock.monotonic_s() + deadline_s
        self._shared.budget.first_try()
        attempt = 0
        while True:
            attempt += 1
            left_s = end_s - self._shared.clock.monotonic_s()
            response, cause = None, ""
            try:
                async with asyncio.timeout(max(0.01, min(self.options.attempt_s, left_s))):
                    response = await self._once(method, path, headers, query, content)
                if response.status_code not in RETRIED:
                    return response
            except (httpx.TransportError, TimeoutError) as error:
                cause = type(error).__name__
            told = None if response is None else response.headers.get("retry-after")
            wait_s = pause_s(attempt, told, self._shared.rng, self._shared.clock.wall_s())
            if (
                self._shared.clock.monotonic_s() + wait_s >= end_s
                or attempt >= self.options.attempts_most
                or not self._shared.budget.retry()
            ):
                if response is not None:
                    return response
                raise OutcomeUnknown(cause, key=key)
            await asyncio.sleep(wait_s)

    async def _once(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        query: list[tuple[str, Any]],
        content: bytes | None,
    ) -> httpx.Response:
        sent = dict(headers)
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = await self._http.request(method, path, params=query, headers=sent, content=content)
        for text in response.headers.get_list("set-cookie"):
            self._keep_cookie(text)
        return response

    def _keep_cookie(self, text: str) -> None:
        pair, *attributes = (part.strip() for part in text.split(";"))
        name, _, value = pair.partition("=")
        if any(attribute.lower() == "max-age=0" for attribute in attributes) or not value:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def _text(value: Any) -> str:
    """A query parameter as the shop reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
