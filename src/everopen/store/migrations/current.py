"""Which version of the schema this code needs, and whether a database has it."""

from __future__ import annotations

from typing import Any

import asyncpg

HEAD = "0001"
"""The newest migration; a test compares it with the folder."""


async def is_current(connection: Any) -> bool:
    """Whether the database behind an asyncpg connection is at `HEAD`. One cheap query."""
    try:
        version = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return False
    return bool(version == HEAD)
