"""Quotas: how often one client may write, so that one script can't take the shop from everybody.

A bucket of tokens per client and kind of call, in the memory of each worker: nothing is asked of a store, and a client whose
requests go to every worker has as many buckets as there are workers. (A shared count in the store was turned down: it would
cost each cart a write to protect carts from writes.) Answers say what is left in the headers of the IETF draft
`RateLimit`/`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).

Orders by `POST /api/orders` have no quota unless one is set: a flash sale behind one company's address, a till or a
service that orders for many people look just like a script, each of them is the business, and the stock and the lanes
bear them.

A client is the address that the gateway saw (of IPv6 its /64). Behind another proxy all clients have that proxy's address:
limit there, and set these to 0."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

from everopen.api.problems import Headers, Refusal

CLIENTS_MOST = 100_000
"""Buckets that are remembered; beyond, those that were not used for longest are full again."""
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_SIGNED = ("/api/payments/sandbox/webhooks", "/api/payments/stripe/webhooks")
"""Payment providers send many from few addresses, and sign them."""
_CARTS = ("/api/cart", "/api/checkout", "/cart", "/checkout")


class Quota(NamedTuple):
    """So many a second for good, and `burst` at once after a rest."""

    per_s: float
    burst: int


class Left(NamedTuple):
    """What a client has left after this request; `wait_s` is 0 when it was let through."""

    tokens: int
    full_s: int
    wait_s: int


class Quotas:
    """The buckets of one worker. A kind without a quota lets everybody through."""

    def __init__(self, quotas: Mapping[str, Quota]) -> None:
        self._quotas = {kind: quota for kind, quota in quotas.items() if quota.per_s > 0}
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        self._policies = {
            kind: b'"%s";q=%d;w=%d' % (kind.encode(), quota.burst, ceil(quota.burst / quota.per_s))
            for kind, quota in self._quotas.items()
        }

    def has(self, kind: str) -> bool:
        """Whether this kind is limited."""
        return kind in self._quotas

    def take(self, kind: str, client: str, now_s: float) -> Left | None:
        """Takes a token of the client's bucket, if one is left; None without a quota."""
        quota = self._quotas.get(kind)
        if quota is None:
            return None
        key = (kind, client)
        tokens, at_s = self._buckets.get(key, (float(quota.burst), now_s))
        tokens = min(float(quota.burst), tokens + max(0.0, now_s - at_s) * quota.per_s)
        passed = tokens >= 1.0
        if passed:
            tokens -= 1.0
        self._buckets[key] = (tokens, now_s)
        self._buckets.move_to_end(key)
        if len(self._buckets) > CLIENTS_MOST:
            self._buckets.popitem(last=False)
        full_s = ceil((quota.burst - tokens) / quota.per_s)
        return Left(int(tokens), full_s, 0 if passed else max(1, ceil((1.0 - tokens) / quota.per_s)))

    def headers(self, kind: str, left: Left) -> Headers:
        """The headers that say so."""
        return [
            (b"ratelimit-policy", self._policies[kind]),
            (b"ratelimit", b'"%s";r=%d;t=%d' % (kind.encode(), left.tokens, left.full_s)),
        ]

    def require(self, kind: str, client: str, now_s: float) -> Headers:
        """Takes a token; the headers for the answer. Raises a 429 `Refusal` that has them too."""
        left = self.take(kind, client, now_s)
        if left is None:
            return []
        headers = self.headers(kind, left)
        if left.wait_s:
            raise Refusal(
                "rate-limited",
                f"Too many requests of this kind ({kind}) from your address; one more is possible in {left.wait_s} s.",
                headers=[*headers, (b"retry-after", b"%d" % left.wait_s)],
            )
        return headers


def kind_of(method: str, path: str) -> str | None:
    """Which quota a request is counted in; None: reading is free."""
    if method in _READS or path.startswith(_SIGNED):
        return None
    if path in ("/api/orders", "/buy"):
        return "orders"
    return "carts" if path.startswith(_CARTS) else "writes"


def client_of(forwarded: bytes) -> str:
    """The client's name for counting, from what the gateway says in `X-Forwarded-For` (it drops what a client says there)."""
    text = forwarded.decode("latin-1")
    if ":" not in text:
        return text
    try:
        return str(ipaddress.ip_network((text.partition("%")[0], 64), strict=False).network_address)
    except ValueError:
        return text
