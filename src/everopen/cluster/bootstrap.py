"""The first moments of a cluster: roles, database, heartbeat. What the tables look like is the store's business."""

from __future__ import annotations

from everopen.base.secrets import Secrets
from everopen.cluster.node import Node

STATEMENTS = (
    "CREATE TABLE everopen_heartbeat (id int PRIMARY KEY, at timestamptz NOT NULL)",
    "CREATE ROLE everopen_owner NOLOGIN",
    "CREATE ROLE everopen_replication LOGIN REPLICATION PASSWORD '{replication}'",
    "CREATE ROLE everopen_app LOGIN PASSWORD '{app}'",
    "CREATE ROLE everopen_audit LOGIN PASSWORD '{audit}'",
    "CREATE DATABASE everopen OWNER everopen_owner",
    "REVOKE ALL ON DATABASE everopen FROM PUBLIC",
    "GRANT CONNECT ON DATABASE everopen TO everopen_app, everopen_audit",
)


async def create_roles_and_database(node: Node, secrets: Secrets) -> None:
    """Runs once, on the first primary. The passwords are URL-safe tokens, so they need no quoting."""
    values = {"replication": secrets.replication, "app": secrets.app, "audit": secrets.audit}
    connection = await node.connect()
    try:
        for statement in STATEMENTS:
            await connection.execute(statement.format(**values))
    finally:
        await connection.close()
