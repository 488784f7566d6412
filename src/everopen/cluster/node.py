"""One embedded PostgreSQL node: everything that can be done to it, step by step, and nothing about when.

A node is a folder `nodes/NAME` with `data/` (PostgreSQL's own) and its configuration files beside it. The postmaster
is started directly, not through pg_ctl, so that its pid is known and its exit is seen at once.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg

from everopen.base import process
from everopen.base.errors import ClusterError, FenceError
from everopen.base.process import Identity
from everopen.base.secrets import Secrets
from everopen.base.topology import Endpoint
from everopen.cluster import configuration
from everopen.cluster.account import Account
from everopen.cluster.binaries import Binaries
from everopen.cluster.configuration import NodeConfiguration
from everopen.cluster.settings import ClusterSettings

FIRST_PORT = 5501
"""Unix sockets have no ports to collide; the number only names the socket file."""
IN_RECOVERY = (2, 5)
"""DBState in pg_control: shut down in recovery, in archive recovery."""


class Node:
    """A node by name. Methods act on the operating system and on PostgreSQL; none of them decides."""

    def __init__(
        self,
        name: str,
        index: int,
        *,
        nodes: Path,
        sockets: Path,
        logs: Path,
        settings: ClusterSettings,
        binaries: Binaries,
        account: Account,
        secrets: Secrets,
    ) -> None:
        self.name = name
        self.port = FIRST_PORT + index
        self.folder = nodes / name
        self.data = self.folder / "data"
        self.sockets = sockets
        self.log = logs / f"{name}.log"
        self.endpoint = Endpoint(path=str(sockets), port=self.port)
        self._settings = settings
        self._binaries = binaries
        self._account = account
        self._secrets = secrets
        self._configured: NodeConfiguration | None = None
        self._rewinding = self.folder / "rewinding"

    # -- connections ---------------------------------------------------------------------------------------------

    async def connect(
        self, *, database: str = "postgres", timeout_s: float = 2.0, **settings: str
    ) -> asyncpg.Connection[Any]:
        """A new superuser connection. Raises OSError, TimeoutError or asyncpg errors."""
        return await asyncpg.connect(
            host=str(self.sockets),
            port=self.port,
            user="postgres",
            password=self._secrets.superuser,
            database=database,
            timeout=timeout_s,
            command_timeout=None,
            server_settings={"application_name": "everopen-supervisor", **settings},
            statement_cache_size=0,
        )

    def conninfo(self, application: str, *, superuser: bool = False) -> str:
        """A libpq connection string to this node, for replication unless `superuser`."""
        user, password = (
            ("postgres", self._secrets.superuser)
            if superuser
            else ("everopen_replication", self._secrets.replication)
        )
        return (
            f"host={self.sockets} port={self.port} user={user} password={password} "
            f"application_name={application} connect_timeout=3 sslmode=disable"
        )

    # -- life ----------------------------------------------------------------------------------------------------

    def configure(self, *, epoch: int, follow: Node | None, synchronous: tuple[str, ...]) -> None:
        """Writes the configuration files; takes effect at start or `reload`."""
        self._configured = NodeConfiguration(
            name=self.name,
            port=self.port,
            data=self.data,
            sockets=self.sockets,
            epoch=epoch,
            follow=None if follow is None else follow.conninfo(self.name),
            synchronous=synchronous,
        )
        configuration.write(self._settings, self._configured, self._account)

    async def initialise(self) -> None:
        """initdb with checksums and small WAL segments. Raises ClusterError."""
        self._make_folder()
        password = self.folder / "password"
        password.write_text(self._secrets.superuser)
        password.chmod(0o600)
        self._account.own(password)
        try:
            await self._run(
                "initdb", "-D", str(self.data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8",
                "--locale=C", "--data-checksums", "--wal-segsize=4", "--no-instructions", "--no-sync", "--set=scram_iterations=1",
            )  # fmt: skip
        finally:
            password.unlink(missing_ok=True)
        await self._reach_disk()

    def start(self, *, standby: bool) -> Identity:
        """Starts the postmaster and returns at once; `standby.signal` says what it is. Raises ClusterError."""
        signal_file = self.data / "standby.signal"
        if standby:
            signal_file.touch(mode=0o600)
            self._account.own(signal_file)
        else:
            signal_file.unlink(missing_ok=True)
        # The caller has proven that nothing runs here; what a killed postmaster left would stop the next one if its
        # pid has come to mean another process.
        for left in (
            self.data / "postmaster.pid",
            self.sockets / f".s.PGSQL.{self.port}.lock",
            self.sockets / f".s.PGSQL.{self.port}",
        ):
            left.unlink(missing_ok=True)
        try:
            return process.spawn(
                [self._binaries.program("postgres"), "-c", f"config_file={self.folder / 'postgresql.conf'}"],
                log=self.log, folder=self.data, user=self._account.popen_user(), environment=self._environment(),
            )  # fmt: skip
        except OSError as error:
            raise ClusterError(f"{self.name} could not be started: {error}.", f"See {self.log}.") from error

    async def wait_ready(self, identity: Identity, *, timeout_s: float) -> None:
        """Waits until the node takes connections. Raises ClusterError when it ends or the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                connection = await self.connect(timeout_s=1.0)
                await connection.close(timeout=1.0)
                return
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pass
            if not process.alive(identity):
                raise ClusterError(
                    f"{self.name} ended while starting: {self.last_words()}", f"See {self.log}."
                )
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{self.name} did not take connections within {timeout_s:.0f} s.", f"See {self.log}."
                )
            await asyncio.sleep(0.01)

    async def shut_down(self, identity: Identity, *, grace_s: float = 20.0) -> None:
        """Fast shutdown: sessions are closed, everything is written; killed (safely, WAL is redone) past the grace."""
        process.send(identity, signal.SIGCONT)
        process.send(identity, signal.SIGINT)
        if not await process.wait_gone(identity, grace_s):
            await self.fence()

    async def fence(self) -> None:
        """Kills every process of this node and proves that none is left. Raises FenceError otherwise."""
        user = self._account.popen_user()
        if process.kill_all_in(self.data, user=user, timeout_s=0.2):
            return
        # Stuck in the kernel: whoever turns the loop must not stand still with it.
        if not await asyncio.to_thread(process.kill_all_in, self.data, user=user):
            raise FenceError(
                f"Processes of {self.name} are still there after SIGKILL (stuck in the kernel?).",
                "Look at `ps -o pid,stat,wchan,cmd` for them.",
            )

    def end_tools(self) -> None:
        """Kills initdb, pg_rewind and their like, left at work on this node by a supervisor that ended."""
        process.kill_all_in(self.folder, user=self._account.popen_user())

    def reload(self, identity: Identity) -> None:
        """Makes the postmaster read its files again."""
        process.send(identity, signal.SIGHUP)

    # -- roles ---------------------------------------------------------------------------------------------------

    async def promote(self, *, timeout_s: float = 30.0) -> None:
        """Ends recovery; returns once the node takes writes. Polls every 2 ms: `wait => true` polls at 100 ms.

        Raises TimeoutError, also when the node hangs in the middle, and does nothing to a node that already writes."""
        async with asyncio.timeout(timeout_s):
            connection = await self.connect()
            try:
                if await connection.fetchval("SELECT pg_is_in_recovery()"):
                    await connection.execute("SELECT pg_promote(wait => false)")
                while await connection.fetchval("SELECT pg_is_in_recovery()"):
                    await asyncio.sleep(0.002)
            finally:
                connection.terminate()

    def keep_diverged_tail(self, primary_timeline_start: str | None, epoch: int) -> Path | None:
        """Copies this node's WAL from the fork on, before a rewind overwrites it: what a former primary wrote and
        nobody else got stays available for inquiry. `primary_timeline_start` is the LSN of the fork."""
        wal = self.data / "pg_wal"
        if primary_timeline_start is None or not wal.is_dir():
            return None
        high, low = (int(part, 16) for part in primary_timeline_start.split("/"))
        position = (high << 32) | low
        size = 4 * 2**20
        first = f"{position // 2**32:08X}{position % 2**32 // size:08X}"
        segments = sorted(file for file in wal.iterdir() if len(file.name) == 24 and file.name[8:] >= first)
        if not segments:
            return None
        newest = max(file.stat().st_mtime for file in segments)
        target = self.folder.parent / "diverged" / f"{self.name}-epoch-{epoch}"
        if target.exists():
            return target
        unfinished = target.with_name(f".{target.name}")
        shutil.rmtree(unfinished, ignore_errors=True)  # an earlier copy that was interrupted
        unfinished.mkdir(parents=True)
        # Recycled segments lie ready under future names; only those as new as the last write carry the tail.
        for file in segments[:64]:
            if file.stat().st_mtime >= newest - 30:
                shutil.copy2(file, unfinished / file.name)
        unfinished.rename(target)
        return target

    async def rewind(self, source: Node) -> None:
        """pg_rewind from the new primary (which must have made a checkpoint since its promotion). Raises ClusterError,
        also when an earlier rewind was interrupted: what that leaves can't be trusted, and only a copy mends it."""
        if self._rewinding.exists():
            raise ClusterError(f"An earlier rewind of {self.name} was interrupted.")
        self._rewinding.touch()
        await self._run(
            "pg_rewind", "-D", str(self.data), f"--source-server={source.conninfo('everopen-rewind', superuser=True)} dbname=postgres",
            f"--config-file={self.folder / 'postgresql.conf'}", "--no-sync",
        )  # fmt: skip
        await self._reach_disk()
        self._rewinding.unlink()

    async def copy_from(self, source: Node) -> None:
        """A new base backup of the primary in place of whatever was here. Raises ClusterError."""
        self._make_folder()
        if self.data.exists():
            shutil.rmtree(self.data)
        await self._run(
            "pg_basebackup", "-D", str(self.data), "-d", source.conninfo("everopen-basebackup"),
            "--checkpoint=fast", "--wal-method=stream", "--no-sync",
        )  # fmt: skip
        await self._reach_disk()
        self._rewinding.unlink(missing_ok=True)

    # -- small things --------------------------------------------------------------------------------------------

    def last_words(self) -> str:
        """The last line of the node's log that says something."""
        try:
            with open(self.log, "rb") as handle:
                handle.seek(max(0, os.path.getsize(self.log) - 4000))
                lines = handle.read().decode(errors="replace").splitlines()
        except OSError:
            return "no log"
        telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR"))]
        return (telling or lines or ["no log"])[-1][:300]

    def is_standby(self) -> bool:
        """Whether the data directory says that it follows another node.

        A promotion removes standby.signal first and opens its own timeline after; killed in between, only pg_control
        still knows that the recovery was not over. Started as a primary then, it would go on with the former
        primary's timeline, and nobody could tell the two histories apart."""
        if (self.data / "standby.signal").exists():
            return True
        try:
            with open(self.data / "global" / "pg_control", "rb") as handle:
                state = int.from_bytes(handle.read(20)[16:20], sys.byteorder)
        except OSError:
            return False
        return state in IN_RECOVERY

    def major_on_disk(self) -> int | None:
        """PostgreSQL major version of the data directory; None when there is none."""
        try:
            return int((self.data / "PG_VERSION").read_text().strip())
        except (OSError, ValueError):
            return None

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._account.own(self.folder)

    def _environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if key in ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
        }
        return {**kept, "PGPASSWORD": "", "PGDATA": str(self.data)}

    async def _reach_disk(self) -> None:
        """The tools run with --no-sync (one by one, thousands of files take long); this writes them all down at once,
        so that a power cut after this node was trusted finds it whole."""

        def write_down() -> None:
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                ctypes.CDLL(None).syncfs(folder)
            finally:
                os.close(folder)

        await asyncio.to_thread(write_down)

    async def _run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's tools in the node's folder (so that a later supervisor finds leftovers there)."""
        user = self._account.popen_user()
        with open(self.log, "ab", buffering=0) as log:
            child = await asyncio.create_subprocess_exec(
                self._binaries.program(program), *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=asyncio.subprocess.PIPE, cwd=self.folder, env=self._environment(),
                start_new_session=True, user=user and user[0], group=user and user[1], extra_groups=[] if user else None,
            )  # fmt: skip
            assert child.stderr is not None
            try:
                errors = (await child.stderr.read()).decode(errors="replace")
                code = await child.wait()
            except asyncio.CancelledError:
                child.kill()
                raise
            log.write(errors.encode())
        if code:
            last = (errors.strip().splitlines() or ["no message"])[-1]
            raise ClusterError(f"{program} for {self.name} failed: {last}", f"See {self.log}.")
