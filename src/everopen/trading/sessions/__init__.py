"""Sessions: a random token in a cookie, and a store that knows what it stands for. Any worker serves any visitor.

A port with two implementations: PostgreSQL (needs nothing) and Redis (by setting). A new one is a file and a line in
`SESSION_STORES`; the contract test takes it in by itself."""

from __future__ import annotations

from collections.abc import Callable

from everopen.base.errors import ConfigError
from everopen.store import Primary
from everopen.trading.sessions.postgres import PostgresSessions
from everopen.trading.sessions.store import Session, SessionStore, SessionStoreDown, digest


def _postgres(primary: Primary, url: str, days: float) -> SessionStore:
    return PostgresSessions(primary, days=days)


def _redis(primary: Primary, url: str, days: float) -> SessionStore:
    try:
        from everopen.trading.sessions.redis import RedisSessions
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"[api] session_store = redis needs a package that is missing: {error.name}.",
            "Install it (pip install everopen[redis]), or keep sessions in postgres.",
        ) from error
    return RedisSessions(url, days=days)


SESSION_STORES: dict[str, Callable[[Primary, str, float], SessionStore]] = {
    "postgres": _postgres,
    "redis": _redis,
}
"""Name in the settings → how to make one from the primary, the store's address and how many days a session lives."""

__all__ = ["SESSION_STORES", "Session", "SessionStore", "SessionStoreDown", "digest"]
