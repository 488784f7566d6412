"""${message}"""

from __future__ import annotations

from alembic import op

from everopen.store.migrations.runner import execute_script

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """${message}"""
    execute_script(op.get_bind(), "")
