"""What a database needs before a shop can open on it: the tables, and in a new one the catalogue."""

from __future__ import annotations

from everopen.base.secrets import Secrets
from everopen.cluster.node import Node
from everopen.config import Configuration
from everopen.store import migrations


async def prepare_database(node: Node, secrets: Secrets, configuration: Configuration, new: bool) -> None:
    """Brings the schema up to date; a new shop gets its catalogue and opening stock."""
    connection = await node.connect(database="everopen")
    try:
        current = await migrations.is_current(connection)
    finally:
        await connection.close()
    if not current:
        await migrations.upgrade(str(node.sockets), node.port, "postgres", secrets.superuser, "everopen")
