"""The ledger's own rows about the documents of a replay, read with the auditor's read-only role.

Not asked of the API: what the API answers and what the ledger holds are the two things to be compared. It works beside the
shop (same EVEROPEN_HOME); from elsewhere the column stays empty, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from everopen.base.errors import StoreUnavailable
from everopen.base.home import Home
from everopen.base.secrets import Secrets
from everopen.base.topology import Endpoint, TopologyReader
from everopen.cli.replay_books import LedgerFigures

FOUND = "SELECT count(*) FROM orders WHERE id = ANY($1::uuid[])"
ENTRIES = """
SELECT coalesce(-sum(amount) FILTER (WHERE account = 'sales'), 0)::bigint AS sales,
       coalesce(sum(amount) FILTER (WHERE account = 'cash' AND event = 'captured'), 0)::bigint AS captured,
       coalesce(sum(amount) FILTER (WHERE account = 'returns' AND event = 'refund'), 0)::bigint AS refunds,
       coalesce(sum(amount) FILTER (WHERE account = 'returns' AND event = 'credit'), 0)::bigint AS credits,
       coalesce(sum(amount), 0)::bigint AS sum
FROM ledger_entries
WHERE (refund_id IS NULL AND order_id = ANY($1::uuid[])) OR refund_id = ANY($2::uuid[])
"""
"""Debit is positive, credit negative: sales are credited, returns debited."""
CORRECTED = "SELECT coalesce(sum(delta), 0)::bigint FROM stock_movements WHERE kind = 'correction' AND key = ANY($1::text[])"


async def ledger_figures(
    home: Home,
    *,
    orders: Sequence[str],
    refunds: Sequence[str],
    credited: Sequence[str],
    corrections: Sequence[str],
) -> tuple[LedgerFigures | None, str]:
    """The figures (of documents by id, of corrections by key), or None and a sentence why they can't be read from here.
    Raises StoreUnavailable."""
    topology = TopologyReader(home.topology_file).current()
    if topology is None or topology.primary is None or not home.secrets_file.exists():
        return (
            None,
            f"The ledger was not compared: no shop runs in {home.root}, so its books can't be read from here.",
        )
    secrets = msgspec.json.decode(home.secrets_file.read_bytes(), type=Secrets)
    return await figures_at(
        topology.primary.endpoint,
        secrets.audit,
        orders=orders,
        documents=[*refunds, *credited],
        corrections=corrections,
    )


async def figures_at(
    endpoint: Endpoint,
    password: str,
    *,
    orders: Sequence[str],
    documents: Sequence[str],
    corrections: Sequence[str],
) -> tuple[LedgerFigures | None, str]:
    """Sums over the ledger entries of these orders, refunds and credits."""
    ids = [UUID(order) for order in orders]
    try:
        connection = await asyncpg.connect(
            host=endpoint.path or endpoint.host,
            port=endpoint.port,
            user="everopen_audit",
            database="everopen",
            password=password,
            timeout=10,
        )
    except (OSError, asyncpg.PostgresError) as problem:
        raise StoreUnavailable(f"The ledger can't be read: {problem}.") from problem
    try:
        if ids and not await connection.fetchval(FOUND, ids):
            return (
                None,
                "The ledger was not compared: the shop of EVEROPEN_HOME is not the one that was replayed to.",
            )
        row = await connection.fetchrow(ENTRIES, ids, [UUID(document) for document in documents])
        assert row is not None  # an aggregate without GROUP BY has one row
        corrected = await connection.fetchval(CORRECTED, list(corrections))
        return LedgerFigures(**dict(row), corrected=corrected), ""
    finally:
        await connection.close()
