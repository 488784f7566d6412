"""What an error from PostgreSQL means for the call that met it: a pure decision.

The dangerous answer is "it failed" for a commit that went through. So whatever breaks a connection, and whatever
comes from a node that is going down or is no longer primary, means *unknown*: throw the connection away and ask
again under the same idempotency key. (Retrying only before COMMIT was turned down: the loss of the answer to
COMMIT is exactly the case that matters.)
"""

from __future__ import annotations

from enum import Enum

import asyncpg


class Verdict(Enum):
    """What to do after an error."""

    LOST = "throw the connection away and run again on the primary of the current topology"
    AGAIN = "run again on the same connection: nothing was written"
    LATER = "run again in a moment: the server lacks disk, memory or connections, or its disk fails: soon it has them, or another is primary"
    FINAL = "tell the caller"


LOST_STATES = frozenset({"25006", "57P01", "57P02", "57P03", "57P04", "57P05"})
"""Read-only (demoted), administrator or crash shutdown, cannot connect now, database dropped, idle timeout."""
AGAIN_STATES = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: rolled back by the server."""
RACED_CONSTRAINTS = frozenset(
    {
        "idempotency_pkey",
        "orders_reference_key",
        "refunds_reference_key",
        "customers_email_key",
        "staff_login_key",
    }
)
"""Unique keys that a concurrent twin may take between our look and our insert: the next look finds the twin."""


def judge(error: BaseException) -> Verdict:
    """The verdict on an error of asyncpg or of the operating system."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in LOST_STATES or state.startswith("08"):
            return Verdict.LOST
        if state in AGAIN_STATES:
            return Verdict.AGAIN
        if state.startswith(("53", "58")):
            return Verdict.LATER
        if state == "23505" and getattr(error, "constraint_name", None) in RACED_CONSTRAINTS:
            return Verdict.AGAIN
        return Verdict.FINAL
    if isinstance(error, asyncpg.InterfaceError):
        if isinstance(error, ValueError):
            return Verdict.FINAL  # a value that PostgreSQL's type can't hold: never sent
        # "another operation is in progress" and the like are our own bugs, but a fresh connection cures them too
        return Verdict.LOST
    if isinstance(error, OSError | EOFError | asyncpg.InternalClientError):
        return Verdict.LOST
    return Verdict.FINAL


def is_doubtful(severity: str | None, sqlstate: str | None, message: str) -> bool:
    """Whether a notice says that the wait for the synchronous standby was cut short: the commit is local, and a
    failover may take it back."""
    return severity == "WARNING" and (sqlstate == "57P01" or "synchronous replication" in message)
