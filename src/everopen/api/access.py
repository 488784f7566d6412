"""Access: who calls, and may they. The one place that the router asks for `Route.scope`.

Staff come with a bearer token: of a session (`eos_…`), of an API key (`eok_…`), or the operator key, which may do everything
and is for the day on which nothing else works. A token is looked up by its digest, so comparing takes no time that tells
something about it; the operator key is compared in constant time. What a token may do is remembered for a moment per worker
(a script that imports ten thousand products would ask for each), and forgotten at once by the worker that takes it away.

Who it is goes into the audit log: it is put into `base.actor` for the rest of the request."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from hashlib import sha256

from everopen.api.problems import Refusal
from everopen.api.routes import CUSTOMER, SELF, Call
from everopen.api.sessions import session_of
from everopen.base.actor import ACTOR
from everopen.base.clock import Clock
from everopen.trading.people import People
from everopen.trading.people.outcomes import Bearer
from everopen.trading.people.roles import SCOPES

REMEMBERED_MOST = 1000
TOKEN_MAX = 100
"""No token of ours is longer, so what is longer is not looked up."""
OPERATOR = Bearer("operator", frozenset(SCOPES))
_MISSING = {
    "password": "change the password that you were given (POST /api/staff/me/password)",
    "second-factor": "set up a second factor (POST /api/staff/me/second-factor)",
}


class Access:
    """Who may do what, for one worker."""

    def __init__(self, people: People, operator_key: str, *, clock: Clock) -> None:
        self._people = people
        self._operator_key = operator_key.encode()
        self._clock = clock
        self._remember_s = people.settings.access_cache_s
        self._known: OrderedDict[bytes, tuple[Bearer, float]] = OrderedDict()

    async def admit(self, scope: str, call: Call) -> None:
        """Notes in the call who it is. Raises a `Refusal`: 401 for nobody, 403 for somebody who may not."""
        if scope == CUSTOMER:
            token = session_of(call)
            customer = None if token is None else await self._people.customers.of_session(token)
            if customer is None:
                raise Refusal("not-logged-in", "Nobody is logged in under this session.")
            call.customer = customer
            return
        call.bearer = await self.require(call.headers, scope)

    async def require(self, headers: dict[bytes, bytes], scope: str) -> Bearer:
        """Who of staff it is. Raises a `Refusal` unless they may do what the scope says."""
        bearer = await self._identify(headers)
        if scope == SELF:
            if bearer.session_id is None:
                raise Refusal("not-allowed", "This is for the own account of somebody who is logged in.")
        elif scope not in bearer.scopes:
            if bearer.missing:
                first = " and ".join(_MISSING[item] for item in bearer.missing)
                raise Refusal("not-allowed", f"Before anything else, {first}.")
            raise Refusal("not-allowed", f"{bearer.actor} lacks “{scope}” ({SCOPES.get(scope, '')}).")
        ACTOR.set(bearer.actor)
        return bearer

    async def _identify(self, headers: dict[bytes, bytes]) -> Bearer:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token:
            raise Refusal("no-operator", "This call is for staff: send `Authorization: Bearer <token>`.")
        if hmac.compare_digest(token, self._operator_key):
            return OPERATOR
        key, now_s = sha256(token).digest(), self._clock.monotonic_s()
        bearer, until_s = self._known.get(key, (None, 0.0))
        if bearer is not None and now_s < until_s:
            return bearer
        self._known.pop(key, None)
        bearer = None
        if len(token) <= TOKEN_MAX and token.isascii():
            bearer = await self._people.identify(token.decode("ascii"))
        if bearer is None:
            raise Refusal("not-operator", "This token is none of this shop's, or none any more.")
        if not bearer.missing:  # who has just set up what was missing does not wait
            self._known[key] = (bearer, now_s + self._remember_s)
            if len(self._known) > REMEMBERED_MOST:
                self._known.popitem(last=False)
        return bearer

    def forget(self) -> None:
        """Asks the store again for everybody: rights were changed. Other workers do so within `access_cache_s`."""
        self._known.clear()
