"""What one durable job costs in each of four queues, on a PostgreSQL of its own. Needs the three libraries beside ours:

    python tools/measure_jobs.py --bin FOLDER_OF_POSTGRES_PROGRAMS [--jobs 2000] [--only ours,pgqueuer,procrastinate,dbos]

A job does nothing; it is put in (one transaction each, as an order would), run once by one worker process with up to ten at a
time, and written as done. Shown: jobs a second put in and done, CPU of the worker process and of PostgreSQL per job.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONCURRENCY = 10


class Meter:
    """What was spent since `begin`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def begin(self) -> None:
        self._own, self._database = self._spent()

    def end(self) -> None:
        own, database = self._spent()
        self.worker_s, self.database_s = own - self._own, database - self._database

    def _spent(self) -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime, self._node.cpu_s()


class Node:
    """A PostgreSQL with fsync off: what is compared is work, not the disk."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.port = folder, 54000 + os.getpid() % 5000
        nobody = pwd.getpwnam("nobody")
        other: dict[str, Any] = (
            {} if os.geteuid() else {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        )
        if other:
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            check=True, capture_output=True, cwd=folder, **other,
        )  # fmt: skip
        self.log = open(folder / "log", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-c", f"unix_socket_directories={folder}", "-c", f"port={self.port}",
             "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "jit=off", "-c", "everopen.epoch=1"],
            stdout=self.log, stderr=self.log, cwd=folder, **other,
        )  # fmt: skip
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def cpu_s(self) -> float:
        """CPU of the postmaster and all its children, ended ones included."""
        import psutil

        root = psutil.Process(self.process.pid)
        times = root.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in root.children():
            try:
                spent = child.cpu_times()
                total += spent.user + spent.system
            except psutil.NoSuchProcess:
                continue
        return float(total)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


async def ours(node: Node, jobs: int, meter: Meter) -> tuple[float, float]:
    import asyncpg

    from everopen.base.clock import SystemClock
    from everopen.base.topology import Endpoint, NodeView, Topology, TopologyReader, publish
    from everopen.store import Primary, StoreSettings, migrations
    from everopen.trading import TradingSettings
    from everopen.trading.jobs import Job, JobContext, enqueue
    from everopen.trading.jobs.runner import Runner

    connection = await asyncpg.connect(node.url)
    await connection.execute(
        "CREATE ROLE everopen_owner NOLOGIN; CREATE ROLE everopen_app LOGIN; CREATE ROLE everopen_audit LOGIN"
    )
    await connection.execute("CREATE DATABASE everopen OWNER everopen_owner")
    await connection.close()
    await migrations.upgrade(str(node.folder), node.port, "postgres", None, "everopen")
    topology = node.folder / "topology.json"
    view = NodeView(name="node-1", endpoint=Endpoint(path=str(node.folder), port=node.port))
    publish(topology, Topology(epoch=1, version=1, primary=view))
    clock = SystemClock()
    primary = Primary(
        StoreSettings(), TopologyReader(topology), password="-", clock=clock, jitter=random.random
    )
    await primary.start()
    done = 0

    async def nothing(_context: JobContext) -> str:
        nonlocal done
        done += 1
        return "Nothing."

    async def put() -> None:
        for _ in range(jobs):
            await primary.run(lambda c: enqueue(c, "nothing"))

    meter.begin()
    began = time.monotonic()
    await put()
    put_s = time.monotonic() - began
    runner = Runner(
        TradingSettings(jobs_concurrency=CONCURRENCY, jobs_poll_s=0.01), primary, {"nothing": Job("nothing", nothing)}, {},
        clock=clock, rng=random.Random(), worker="m",
    )  # fmt: skip
    began = time.monotonic()
    await runner.start()
    while runner.counters["jobs_done_total"] < jobs:
        await asyncio.sleep(0.005)
    run_s = time.monotonic() - began
    meter.end()
    await runner.stop()
    await primary.close()
    assert done == jobs
    return put_s, run_s


async def pgqueuer(node: Node, jobs: int, meter: Meter) -> tuple[float, float]:
    import asyncpg
    from pgqueuer import AsyncpgDriver, PgQueuer, Queries

    connection = await asyncpg.connect(node.url)
    await Queries(AsyncpgDriver(connection)).install()
    queries = Queries(AsyncpgDriver(connection))
    meter.begin()
    began = time.monotonic()
    for _ in range(jobs):
        await queries.enqueue(["nothing"], [None], [0])
    put_s = time.monotonic() - began
    worker = PgQueuer(AsyncpgDriver(await asyncpg.connect(node.url)))
    done = 0

    @worker.entrypoint("nothing")
    async def nothing(_job: Any) -> None:
        nonlocal done
        done += 1

    began = time.monotonic()
    running = asyncio.create_task(worker.run(batch_size=CONCURRENCY))
    while done < jobs or await connection.fetchval("SELECT count(*) FROM pgqueuer"):
        await asyncio.sleep(0.05)
    run_s = time.monotonic() - began
    meter.end()
    worker.shutdown.set()
    await running
    return put_s, run_s


async def procrastinate(node: Node, jobs: int, meter: Meter) -> tuple[float, float]:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=node.url))
    done = 0

    @app.task(name="nothing")
    async def nothing() -> None:
        nonlocal done
        done += 1

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        meter.begin()
        began = time.monotonic()
        for _ in range(jobs):
            await nothing.defer_async()
        put_s = time.monotonic() - began
        began = time.monotonic()
        await app.run_worker_async(concurrency=CONCURRENCY, wait=False, install_signal_handlers=False)
        run_s = time.monotonic() - began
        meter.end()
    assert done == jobs
    return put_s, run_s


async def dbos(node: Node, jobs: int, meter: Meter) -> tuple[float, float]:
    from dbos import DBOS

    url = node.url.replace("postgresql://", "postgresql+psycopg://")
    DBOS(
        config={
            "name": "measure",
            "system_database_url": url,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    gate = asyncio.Event()

    @DBOS.workflow()
    async def nothing() -> None:
        await gate.wait()

    DBOS.launch()
    await DBOS.register_queue_async("measure", worker_concurrency=CONCURRENCY, polling_interval_sec=0.05)
    meter.begin()
    began = time.monotonic()
    handles = [await DBOS.enqueue_workflow_async("measure", nothing) for _ in range(jobs)]
    put_s = time.monotonic() - began
    began = time.monotonic()
    gate.set()
    for handle in handles:
        await handle.get_result(polling_interval_sec=0.02)
    run_s = time.monotonic() - began
    meter.end()
    DBOS.destroy()
    return put_s, run_s


QUEUES = {"ours": ours, "pgqueuer": pgqueuer, "procrastinate": procrastinate, "dbos": dbos}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--only", default=",".join(QUEUES))
    arguments = parser.parse_args()
    print(f"{'queue':<14}{'put in/s':>10}{'done/s':>10}{'worker CPU ms':>15}{'database CPU ms':>17}")
    for name in arguments.only.split(","):
        if os.fork():
            if os.wait()[1]:
                return 1
            continue
        folder = Path(tempfile.mkdtemp(prefix="measure-jobs-"))
        folder.chmod(0o711)
        node = Node(folder, arguments.bin)
        try:
            time.sleep(1.5)
            meter = Meter(node)
            put_s, run_s = asyncio.run(QUEUES[name](node, arguments.jobs, meter))
            jobs = arguments.jobs
            print(
                f"{name:<14}{jobs / put_s:>10.0f}{jobs / run_s:>10.0f}{meter.worker_s * 1000 / jobs:>15.2f}"
                f"{meter.database_s * 1000 / jobs:>17.2f}",
                flush=True,
            )
        finally:
            node.stop()
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
