"""Roles: named sets of scopes, in one table. What a call needs is the `scope` in its row of the route table.

Roles are code and not rows: which of them may pay money back is reviewed like a change of the program, and nobody who can
write to one table makes himself an owner. An account may have several; what it may do is their union."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

ScopeName = Literal[
    "catalogue:write", "stock:write", "orders:read", "orders:write", "refunds:write", "customers:read", "customers:write",
    "staff:write", "promotions:write", "payments:read", "payments:write", "ledger:read", "events:write", "audit:read",
]  # fmt: skip
RoleName = Literal["owner", "manager", "catalogue", "fulfilment", "support", "auditor"]

SCOPES: dict[str, str] = {
    "catalogue:write": "add and change products, categories and prices",
    "stock:write": "book goods that arrived and what counts found",
    "orders:read": "look at all orders",
    "orders:write": "cancel, ship, complete orders; sell at other prices",
    "refunds:write": "give money back",
    "customers:read": "look at customers",
    "customers:write": "change and erase customers",
    "staff:write": "staff accounts and API keys",
    "promotions:write": "promotions, coupons, tax rates, shipping methods",
    "payments:read": "look at payments",
    "payments:write": "capture and void payments",
    "ledger:read": "read the books",
    "events:write": "subscribers, dead letters, replay of events",
    "audit:read": "read the audit log",
}
"""Every scope that there is, and what it lets do."""

_READS = frozenset(("orders:read", "customers:read", "payments:read"))

ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset(SCOPES),
    "manager": frozenset(SCOPES) - {"staff:write"},
    "catalogue": frozenset(("catalogue:write", "stock:write", "promotions:write")),
    "fulfilment": frozenset(("orders:read", "orders:write", "stock:write")),
    "support": _READS | {"orders:write", "refunds:write", "customers:write"},
    "auditor": _READS | {"ledger:read", "audit:read"},
}
"""Every role that there is."""


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """The union of their scopes. A name that is no role any more gives nothing."""
    found: frozenset[str] = frozenset()
    for role in roles:
        found |= ROLES.get(role, frozenset())
    return found
