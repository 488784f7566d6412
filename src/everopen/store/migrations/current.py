"""Which version of the schema this code needs, and whether a database has it: the newest migration (tables) and the digest
of the functions."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

HEAD = "0008"
"""The newest migration; a test compares it with the folder."""


@cache
def functions() -> tuple[str, str]:
    """The script of all functions, and its digest. Functions have no versions of their own: whatever a database has, it
    gets these (see `runner.renew_functions`)."""
    files = sorted((Path(__file__).parent / "functions").glob("*.sql"))
    script = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return script, hashlib.sha256(script.encode()).hexdigest()


async def is_current(connection: Any) -> bool:
    """Whether the database behind an asyncpg connection has both. One cheap query."""
    try:
        row = await connection.fetchrow(
            "SELECT (SELECT version_num FROM alembic_version) AS tables, (SELECT digest FROM schema_functions) AS functions"
        )
    except asyncpg.UndefinedTableError:
        return False
    return bool(row["tables"] == HEAD and row["functions"] == functions()[1])
