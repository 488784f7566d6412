"""Runs alembic from code, over SQLAlchemy's asyncpg dialect: one driver in the house, no ini file, no psycopg.

An advisory lock makes two upgrades at once one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_LOCK = 0x45766572  # "Ever"


def config() -> Config:
    """Alembic's configuration: only the place of the scripts."""
    result = Config()
    result.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    result.set_main_option("path_separator", "os")
    return result


def execute_script(bind: Connection, script: str) -> None:
    """Runs a script of many statements inside the migration's transaction."""
    raw: Any = bind.connection.dbapi_connection
    bind.execute(text("SELECT 1"))  # opens the transaction, should this be the first statement
    raw.run_async(lambda driver: driver.execute(script))


def _upgrade(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
    connection.commit()
    try:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))
        connection.commit()


async def upgrade(host: str, port: int, user: str, password: str | None, database: str) -> None:
    """See `everopen.store.migrations.upgrade`. `host` may be the folder of a Unix socket."""
    url = URL.create("postgresql+asyncpg", username=user, password=password, database=database)
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"host": host, "port": port})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
