"""Promotions, coupons, tax and shipping, and what they came to in an order."""

from __future__ import annotations

from alembic import op

from everopen.store.migrations.runner import execute_files

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds it."""
    execute_files(op.get_bind(), "pricing", ("pricing_rules", "pricing_rules_grants", "tables", "grants"))


def downgrade() -> None:
    """Would drop what the shop has recorded since: going back means a restore."""
    raise NotImplementedError("Going back before this version means a restore.")
