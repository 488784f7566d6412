"""Carts of customers, what a line cost when it was put in, sessions that know their customer."""

from __future__ import annotations

from alembic import op

from everopen.store.migrations.runner import execute_files

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds it."""
    execute_files(op.get_bind(), "carts", ("tables", "grants"))


def downgrade() -> None:
    """Would drop what the shop has recorded since: going back means a restore."""
    raise NotImplementedError("Going back before this version means a restore.")
