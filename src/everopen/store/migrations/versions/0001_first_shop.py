"""The first shop: catalogue, stock, orders, payments, ledger, carts.

The statements are in the folder `first_shop`, one file per subject, so that they are read, coloured and tuned as SQL.
They belong to `everopen_owner`, who can't log in."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from everopen.store.migrations.runner import execute_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FILES = ("tables", "settle_payments", "place_orders", "refunds", "catalogue", "grants")


def upgrade() -> None:
    """Creates everything."""
    bind = op.get_bind()
    execute_script(
        bind, "GRANT USAGE, CREATE ON SCHEMA public TO everopen_owner; SET LOCAL ROLE everopen_owner"
    )
    for name in FILES:
        execute_script(
            bind, (Path(__file__).parent / "first_shop" / f"{name}.sql").read_text(encoding="utf-8")
        )
    execute_script(bind, "RESET ROLE; GRANT SELECT ON alembic_version TO everopen_app, everopen_audit")


def downgrade() -> None:
    """There is nothing before the first shop: going back means a restore."""
    raise NotImplementedError("Going back before the first shop means a restore.")
