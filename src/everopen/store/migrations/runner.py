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

from everopen.store.migrations.current import functions

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


def execute_files(bind: Connection, folder: str, names: tuple[str, ...]) -> None:
    """Runs a migration's scripts as `everopen_owner`, to whom everything in the shop's schema belongs."""
    execute_script(bind, "SET LOCAL ROLE everopen_owner")
    for name in names:
        execute_script(
            bind, (Path(__file__).parent / "versions" / folder / f"{name}.sql").read_text(encoding="utf-8")
        )
    execute_script(bind, "RESET ROLE")


def renew_functions(bind: Connection) -> None:
    """Puts the functions of this version in the place of whichever are there, when they differ.

    A function holds no data, so it needs no history: the folder `functions` says what there is, each one once. (Migrations
    that repeat a changed function of three hundred lines for three changed words were turned down.) Functions of triggers
    are part of their tables, and are left alone."""
    script, digest = functions()
    execute_script(
        bind,
        """
        SET LOCAL ROLE everopen_owner;
        CREATE TABLE IF NOT EXISTS schema_functions (single boolean PRIMARY KEY DEFAULT true CHECK (single), digest text NOT NULL);
        """,
    )
    if bind.execute(text("SELECT digest FROM schema_functions")).scalar() == digest:
        execute_script(bind, "RESET ROLE")
        return
    execute_script(
        bind,
        """
        DO $$
        DECLARE
            old record;
        BEGIN
            FOR old IN SELECT p.oid::regprocedure AS name FROM pg_proc p
                        WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = 'everopen_owner'::regrole
                          AND p.prorettype <> 'trigger'::regtype LOOP
                EXECUTE format('DROP FUNCTION %s', old.name);
            END LOOP;
        END
        $$;
        """,
    )
    execute_script(bind, script)
    execute_script(
        bind,
        f"""
        REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO everopen_app;
        INSERT INTO schema_functions (digest) VALUES ('{digest}') ON CONFLICT (single) DO UPDATE SET digest = excluded.digest;
        RESET ROLE;
        """,
    )


def _upgrade(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
    connection.commit()
    try:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
        connection.commit()
        renew_functions(connection)
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
