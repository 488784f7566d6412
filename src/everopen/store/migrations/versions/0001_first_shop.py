"""The first shop: catalogue, stock, orders, payments, ledger, carts.

The statements are in the folder `first_shop`, one file per subject, so that they are read, coloured and tuned as SQL.
They belong to `everopen_owner`, who can't log in."""

from __future__ import annotations

from alembic import op

from everopen.store.migrations.runner import execute_files, execute_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates everything."""
    bind = op.get_bind()
    execute_script(bind, "GRANT USAGE, CREATE ON SCHEMA public TO everopen_owner")
    execute_files(bind, "first_shop", ("tables", "grants"))
    execute_script(bind, "GRANT SELECT ON alembic_version TO everopen_app, everopen_audit")


def downgrade() -> None:
    """There is nothing before the first shop: going back means a restore."""
    raise NotImplementedError("Going back before the first shop means a restore.")
