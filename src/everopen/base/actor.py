"""Who acts: the name that the audit log puts beside what a request does.

The one thing that goes by context and not by argument: it concerns every write of every subject and decides nothing in any
of them. Whoever checks a request's right sets it (`api/access.py`); the store hands it to the connection that the work runs
on (`store/primary.py`), and the database notes it (`chain_audit_log`). A call without a person leaves it empty."""

from __future__ import annotations

from contextvars import ContextVar

ACTOR: ContextVar[str] = ContextVar("everopen_actor", default="")
