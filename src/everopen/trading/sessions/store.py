"""What a session store is: a place that knows for each token whose cart and which customer it stands for.

Only a digest of the token is kept, so a copy of the store opens nobody's session. Carts do not lie here: they are in
PostgreSQL with everything else that an order is made of, and a store that loses its sessions loses no goods of a customer."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from everopen.base.errors import StoreUnavailable


class SessionStoreDown(StoreUnavailable):
    """The session store does not answer."""

    default_next_step = (
        "Orders without a cart (POST /api/orders) go on. See that the store of [api] session_redis_url runs."
    )


class Session(msgspec.Struct, frozen=True):
    """What a token stands for. `customer_id` None: a guest."""

    cart_id: UUID
    customer_id: UUID | None
    opened_at: datetime


def digest(token: str) -> bytes:
    """What a store keeps of a token. Plain SHA-256: the token itself has 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


class SessionStore(Protocol):
    """One way to keep sessions. Every worker asks the same store, so any of them serves any visitor."""

    beside_carts: bool
    """Whether sessions lie in the database of the carts, so that `add_to_carts` can open both in one transaction."""

    async def open(self, token: str, cart_id: UUID, customer_id: UUID | None = None) -> Session:
        """Keeps a new session (whoever logs in gets a new token, against fixation). A token that is known already keeps
        what it stands for: the call may be repeated. Raises StoreUnavailable."""
        ...

    async def find(self, token: str) -> Session | None:
        """The session, whose end moves away by that; None when it is unknown or was not used for too long. Raises
        StoreUnavailable."""
        ...

    async def close(self, token: str) -> None:
        """Forgets a session (logout); an unknown one is no error."""
        ...

    async def close_all(self, customer_id: UUID, *, but: str | None = None) -> int:
        """Forgets all sessions of a customer (a new password), but the one of the token `but`; how many there were."""
        ...

    async def stop(self) -> None:
        """Lets go of connections."""
        ...
