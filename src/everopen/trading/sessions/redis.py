"""Sessions in Redis: for shops that already run one, and would rather have a visitor's every click not ask PostgreSQL.

Redis holds the mapping from a token to cart, customer and times, and nothing else. Each session is one key that expires by
itself (`GETEX` moves its end away); the sessions of a customer are a set beside, so that all can be ended at once. A Redis
that is gone answers 503 with its name; buying without a cart goes on. (Falling back to PostgreSQL while it is away was
turned down: two stores that disagree about who is logged in are worse than one that is late.)"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisLate

from everopen.trading.sessions.store import Session, SessionStoreDown, digest

T = TypeVar("T")
PREFIX = "everopen:session:"
CUSTOMER = "everopen:customer:"
TIMEOUT_S = 1.5
"""A Redis that is silent for so long does not answer."""
CONNECTIONS = 16
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


class RedisSessions:
    """Keys of one Redis."""

    beside_carts = False

    def __init__(self, url: str, *, days: float) -> None:
        self._life_s = max(1, int(days * 86_400))
        # More askers than connections wait for one: a pool that refuses them would turn a rush into errors.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # A connection that a restarted Redis has closed is opened again at once; these commands may be repeated.
            retry=Retry(ConstantBackoff(0.05), 1, (RedisGone, RedisLate)),
            client_name="everopen",
        )
        self._redis: Any = Redis.from_pool(pool)

    async def open(self, token: str, cart_id: UUID, customer_id: UUID | None = None) -> Session:
        """See `SessionStore`."""
        name = _name(token)
        session = Session(cart_id, customer_id, datetime.now(UTC))
        pipe = self._redis.pipeline(transaction=True)
        pipe.set(name, _encode(session), nx=True, ex=self._life_s)
        if customer_id is not None:
            pipe.sadd(f"{CUSTOMER}{customer_id}", name)
            pipe.expire(f"{CUSTOMER}{customer_id}", self._life_s)
        pipe.get(name)
        return _decode((await _asked(pipe.execute()))[-1])

    async def find(self, token: str) -> Session | None:
        """See `SessionStore`."""
        found = await _asked(self._redis.getex(_name(token), ex=self._life_s))
        if found is None:
            return None
        session = _decode(found)
        if session.customer_id is not None:
            await _asked(self._redis.expire(f"{CUSTOMER}{session.customer_id}", self._life_s))
        return session

    async def close(self, token: str) -> None:
        """See `SessionStore`."""
        await _asked(self._redis.delete(_name(token)))

    async def close_all(self, customer_id: UUID, *, but: str | None = None) -> int:
        """See `SessionStore`."""
        names = await _asked(self._redis.smembers(f"{CUSTOMER}{customer_id}"))
        kept = None if but is None else _name(but).encode()
        ended = [name for name in cast("set[bytes]", names) if name != kept]
        if not ended:
            return 0
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(*ended)
        pipe.srem(f"{CUSTOMER}{customer_id}", *ended)
        return int((await _asked(pipe.execute()))[0])

    async def stop(self) -> None:
        """See `SessionStore`."""
        await self._redis.aclose()


def _name(token: str) -> str:
    return PREFIX + digest(token).hex()


async def _asked(command: Awaitable[T]) -> T:
    try:
        return await command
    except (RedisError, OSError) as error:
        raise SessionStoreDown(
            f"The session store (Redis) does not answer: {type(error).__name__}. Carts and logins wait for it."
        ) from error
