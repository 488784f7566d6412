"""Customers, staff, their sessions and keys, and an audit log whose rows are chained by hashes."""

from __future__ import annotations

from alembic import op

from everopen.store.migrations.runner import execute_files

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds it."""
    execute_files(op.get_bind(), "people", ("tables", "grants"))


def downgrade() -> None:
    """Would drop what the shop has recorded since: going back means a restore."""
    raise NotImplementedError("Going back before this version means a restore.")
