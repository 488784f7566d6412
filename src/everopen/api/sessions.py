"""Sessions in HTTP: a cookie with a random token. What it stands for lies in the store (which keeps only a digest of the
token), so any worker serves it."""

from __future__ import annotations

import re
from uuid import UUID

from starlette.requests import cookie_parser

from everopen.api.problems import Headers, Refusal
from everopen.api.routes import Call
from everopen.api.shop import Shop
from everopen.base.ids import secret_token
from everopen.trading.sessions.store import SessionStoreDown

COOKIE = "everopen_session"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch


def session_of(call: Call) -> str | None:
    """The visitor's session token; None without one (or with one that we can't have given)."""
    token = call.cookie(COOKIE)
    return token if token is not None and _TOKEN(token) else None


async def customer_of(shop: Shop, cookies: bytes) -> UUID | None:
    """Who is logged in by these cookies. An order does not wait for a session store that is down: then it is a guest's."""
    token = cookie_parser(cookies.decode("latin-1")).get(COOKIE)
    if token is None or not _TOKEN(token):
        return None
    try:
        session = await shop.session(token)
    except SessionStoreDown:
        return None
    return None if session is None else session.customer_id


def new_session(*, days: float, secure: bool) -> tuple[str, Headers]:
    """A new session's token, and the header that gives it to the browser."""
    token = secret_token()
    return token, cookie_of(token, days=days, secure=secure)


def cookie_of(token: str, *, days: float, secure: bool) -> Headers:
    """The header that gives a session to the browser; 0 days take it away."""
    value = f"{COOKIE}={token}; Path=/; Max-Age={int(days * 86400)}; HttpOnly; SameSite=Lax"
    if secure:
        value += "; Secure"
    return [(b"set-cookie", value.encode())]


def require_same_origin(call: Call) -> None:
    """Raises a 403 `Refusal` for a form that another site sends in a visitor's name.

    Browsers say where a form comes from in `Sec-Fetch-Site` or `Origin`; what says neither is no browser and has no
    cookie to abuse."""
    site = call.header(b"sec-fetch-site")
    origin = call.header(b"origin")
    if site:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = bool(origin) and origin.partition("://")[2] != call.header(b"host")
    if foreign:
        raise Refusal("foreign-form", "This form was sent from another site, so it was not followed.")
