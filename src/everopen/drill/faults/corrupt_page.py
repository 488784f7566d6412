"""A corrupt page in a standby: bits flip in a table's file, as by a dying disk.

Not covered: the shop does not notice by itself. A standby answers no readers here, and PostgreSQL checks a page only when it
reads it, so the damage lies still until the standby is promoted. What would notice: reading everything at times
(pg_verify_checksums of a stopped copy, or a sequential read of each table on the standby), and
pg_stat_database.checksum_failures, which counts every page that failed.

Healing rebuilds the node with the shop's own means: it is killed and cannot start (its control file is put aside), so the
supervisor copies it anew from the primary. A rewind would not do: it leaves pages alone that nobody wrote to.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import asyncpg

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.faults.fault import NOT_COVERED, Injected
from everopen.drill.faults.victims import choose, data_folder, living, may_touch, missing_role
from everopen.drill.ground import Ground

PAGE = 8192
TABLES = ("order_lines", "orders", "products", "stock_movements", "payment_intents", "stock")
"""In this order: the first that has a page."""
REBUILD_S_MAX = 30.0
INJECT_S_MAX = 10.0


class CorruptPage:
    """Eight bytes in the middle of the first page of a table are turned over."""

    name = "corrupt-page-standby"
    description = "Bits flip in a page of a table on the standby."
    promise = NOT_COVERED
    hold_s = 3.0

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        return missing_role(ground, "standby") or may_touch(ground, "standby")

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Turns bits over."""
        victim = choose(ground, "standby", rng)
        table, path = asyncio.run(asyncio.wait_for(_a_table(ground), INJECT_S_MAX))
        file = data_folder(victim.main.pid) / path
        offset = PAGE // 2 + rng.randrange(PAGE // 2 - 8)
        with open(file, "r+b", buffering=0) as handle:
            handle.seek(offset)
            before = handle.read(8)
            handle.seek(offset)
            handle.write(bytes(each ^ 0xFF for each in before))
            os.fsync(handle.fileno())
        return Injected(
            f"flipped 8 bytes of page 0 of {table} in {victim.name}",
            victim.pids[:1],
            {
                "name": victim.name,
                "table": table,
                "file": str(file),
                "offset": offset,
                "before": before.hex(),
            },
        )

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Has the node copied anew, also when it leads by now (then its standby takes over). Raises EveropenError when
        there is no good copy to take over."""
        if injected.data.get("healed"):
            return
        injected.data["healed"] = True
        file, name = Path(injected.data["file"]), str(injected.data["name"])
        if any(each.name == name and each.role == "primary" for each in ground.processes()):
            ground.until_whole(REBUILD_S_MAX)  # then its standby has a good copy, and may take over
        control = file.parents[2] / "global" / "pg_control"
        if control.exists():
            os.replace(control, control.with_name("pg_control.drill"))
        for victim in (*living(ground, "standby"), *living(ground, "primary")):
            if victim.name == name:
                for identity in victim.all:
                    process.send(identity, signal.SIGKILL)
        deadline = time.monotonic() + REBUILD_S_MAX
        while not control.exists() and time.monotonic() < deadline:
            time.sleep(0.05)


async def _a_table(ground: Ground) -> tuple[str, str]:
    """A table that has a page, and its file below the data folder (the same on every node)."""
    connection = await ground.connect()
    try:
        await connection.execute("CHECKPOINT")
        for table in TABLES:
            row = await connection.fetchrow(
                "SELECT pg_relation_filepath($1::regclass) AS path, pg_relation_size($1::regclass) AS size",
                table,
            )
            if row is not None and row["size"] >= PAGE:
                return table, str(row["path"])
    except asyncpg.PostgresError as error:
        raise EveropenError(f"No table could be chosen: {error}.") from error
    finally:
        connection.terminate()
    raise EveropenError("No table of the shop has a page yet.")
