"""The schema and its versions, kept by alembic. `is_current` needs no alembic, so a start stays fast."""

from everopen.store.migrations.current import HEAD, is_current

__all__ = ["HEAD", "is_current", "upgrade"]


async def upgrade(host: str, port: int, user: str, password: str | None, database: str) -> None:
    """Brings the database to `HEAD`. Run as the superuser; safe to repeat and to run twice at once."""
    from everopen.store.migrations.runner import upgrade as run  # alembic costs some 0.3 s to import

    await run(host, port, user, password, database)
