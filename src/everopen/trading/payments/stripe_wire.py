"""Stripe's API on the wire: forms out, JSON in, amounts in the units that it counts in.

What comes back is sorted into four: an object; a refusal (the request was understood and did nothing, or the card was
declined); a state that does not allow it; and silence, which is everything else: no answer, half an answer, 409 (a twin of
the request is being worked on), 429, 5xx, and keys that are not accepted. Silence is never a decline.

Written after the public reference (docs.stripe.com/api: errors, idempotent requests, currencies). Stripe's own library was
turned down: it is a thousand files for eight calls, and retries by itself, which is the payer's business here."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import anyio._backends._asyncio  # noqa: F401  # httpx loads it at the first call, when files may be out of reach
import httpcore
import httpx
import msgspec

from everopen.base.money import EXPONENTS
from everopen.trading.payments.provider import StripeSetup

log = logging.getLogger(__name__)

NO_DECIMALS = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)
THREE_DECIMALS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
WHOLE_UNITS = frozenset(["ISK", "UGX"])
"""Counted in hundredths for the sake of old programs, although only whole units are accepted."""
CONNECTIONS = 32


class Silent(Exception):
    """There is no clear answer; whether anything happened is not known."""


class Refused(Exception):
    """The request did nothing: a declined card, or something wrong in it."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error.get('type')} {error.get('code')}: {error.get('message')}")
        self.code = str(error.get("code") or "")
        self.kind = str(error.get("type") or "")
        found = error.get("payment_intent")
        self.intent: dict[str, Any] | None = found if isinstance(found, dict) else None


def to_stripe(amount: int, currency: str) -> int:
    """Our minor units (ISO 4217) as Stripe's. Raises ValueError for what Stripe can't charge exactly."""
    step = _digits(currency) - EXPONENTS.get(currency, 2)
    if step >= 0:
        result = amount * int(10**step)
    else:
        result, rest = divmod(amount, int(10**-step))
        if rest:
            raise ValueError(f"Stripe charges {currency} in whole units only, and {amount} is none.")
    if currency in THREE_DECIMALS and result % 10:
        raise ValueError(f"Stripe charges {currency} in steps of ten, and {amount} is none.")
    if currency in WHOLE_UNITS and result % 100:
        raise ValueError(f"Stripe charges {currency} in whole units only, and {amount} is none.")
    return result


def from_stripe(amount: int, currency: str) -> int:
    """Stripe's units as our minor units, rounded down where Stripe counts finer."""
    step = EXPONENTS.get(currency, 2) - _digits(currency)
    return amount * int(10**step) if step >= 0 else amount // int(10**-step)


def _digits(currency: str) -> int:
    return 0 if currency in NO_DECIMALS else 3 if currency in THREE_DECIMALS else 2


def form(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as Stripe's form fields: `metadata[key]=value`, `expand[]=a`; None is left out."""
    for name, value in values.items():
        place = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            yield from form(value, place)
        elif isinstance(value, list | tuple):
            for item in value:
                yield f"{place}[]", _text(item)
        elif value is not None:
            yield place, _text(value)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class StripeWire:
    """Calls to the API."""

    def __init__(self, setup: StripeSetup, timeout_s: float) -> None:
        headers = {"authorization": f"Bearer {setup.secret_key}"}
        if setup.api_version:
            headers["stripe-version"] = setup.api_version
        self._client = httpx.AsyncClient(
            base_url=setup.base_url,
            headers=headers,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            verify=setup.tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # that one trusts nobody
            trust_env=False,
        )

    async def post(self, path: str, values: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        """Does something. With a key: at most once, however often it is asked. Raises Silent, Refused."""
        headers = {"idempotency-key": key} if key else {}
        fields = dict_of_lists(form(values))
        return await self._send(self._client.build_request("POST", path, data=fields, headers=headers))

    async def get(self, path: str, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Reads something. Raises Silent, Refused."""
        return await self._send(self._client.build_request("GET", path, params=list(form(values or {}))))

    async def _send(self, request: httpx.Request) -> dict[str, Any]:
        try:
            answer = await self._client.send(request)
        except (httpx.HTTPError, httpcore.NetworkError, OSError) as error:
            raise Silent(f"{type(error).__name__}: {error}") from error
        try:
            body = msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise Silent(f"The answer ({answer.status_code}) is not JSON.") from error
        if answer.status_code == 200 and isinstance(body, dict):
            return body
        found = body.get("error") if isinstance(body, dict) else None
        fault: dict[str, Any] = found if isinstance(found, dict) else {}
        if answer.status_code in (400, 402, 404) and fault.get("type") in (
            "card_error",
            "invalid_request_error",
        ):
            raise Refused(fault)
        if answer.status_code in (401, 403):
            log.error("Stripe does not accept this shop's key (%d): payments wait.", answer.status_code)
        raise Silent(f"{answer.status_code} {fault.get('type')} {fault.get('code')}")

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def dict_of_lists(fields: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Repeated fields as httpx takes them."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return found
