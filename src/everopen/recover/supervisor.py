"""The supervisor: one loop that observes, decides, acts, and publishes.

Exits and signals only wake the loop. Everything that others rely on is a file that outlives the supervisor: the
topology, the registry of processes, the durable facts; a new supervisor reads them and adopts what lives.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
import traceback
from pathlib import Path
from typing import Literal

import msgspec

from everopen.base import process, topology
from everopen.base.errors import ClusterError, EveropenError, StartError
from everopen.base.home import Home
from everopen.base.process import Identity
from everopen.base.topology import Endpoint, Topology, TopologyReader, WorkerView
from everopen.recover import registry, startup
from everopen.recover.children import Children
from everopen.recover.decide import decide
from everopen.recover.keeper import ClusterKeeper
from everopen.recover.nodes import PROBE_ERRORS, Nodes
from everopen.recover.registry import ProcessRecord, Registry
from everopen.recover.startup import Wiring
from everopen.telemetry.events import EventLog, complain

FULL_BYTES = 32 * 2**20
"""Free room under which the disk counts as full."""
RESERVE_BYTES = 64 * 2**20
"""Kept on the disk of the nodes, and given up when it is full."""


class Supervisor:
    """Keeps one shop open until it is told to stop."""

    def __init__(self, wiring: Wiring, events: EventLog) -> None:
        self._wiring = wiring
        self._events = events
        self._wake = asyncio.Event()
        self._stopping = False
        self._cold = False
        """Nothing lives yet that could be adopted: an error now ends the start, later ones only this supervisor."""
        self._nodes = Nodes(wiring.cluster, list(wiring.nodes), wiring.home.state_file, self._wake.set)
        self._keeper = ClusterKeeper(wiring.cluster, self._nodes, events)
        self._children = Children(
            wiring.recover,
            events,
            home=wiring.home.root,
            run=wiring.home.run,
            logs=wiring.home.logs,
            environment=wiring.environment,
            changed=self._wake.set,
        )
        self._guardian = wiring.guardian
        self._guardian_since = time.time()
        self._own = process.identify(os.getpid()) or Identity(os.getpid(), 0)
        self._since = time.time()
        self._phase: Literal["starting", "open", "stopping"] = "starting"
        self._sentence = ""
        self._disk_seen, self._disk_full = 0.0, False
        self._problem = ""
        last = TopologyReader(wiring.home.topology_file).current()
        self._published = last or Topology(epoch=0)
        self._saved: Registry | None = None

    # -- the loop --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Starts or adopts everything, then keeps it until SIGTERM. Raises StartError when it can't start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._watch_guardian()
        # Before anything is saved: a supervisor that ends early must not leave a list without those that live.
        self._adopt(registry.living(registry.load(self._wiring.home.processes_file)))
        starting = loop.create_task(self._start())
        beat = loop.create_task(self._beat())
        beside = loop.create_task(self._run_beside())
        try:
            while not starting.done() and not self._stopping:
                self._save_registry()
                await asyncio.wait([starting], timeout=0.1)
            if starting.done():
                starting.result()
                await self._mind()
        except Exception as error:
            if not self._cold:
                raise
            self._stopping = True  # what was started meanwhile is closed again
            if isinstance(error, EveropenError):
                raise StartError(error.cause, error.next_step) from error
            raise StartError(
                f"The start failed unexpectedly ({type(error).__name__}: {error}).",
                f"The details are in {self._wiring.home.logs / 'supervisor.log'}.",
            ) from error
        finally:
            beat.cancel()
            beside.cancel()
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if self._stopping:
                await self._close()

    async def _mind(self) -> None:
        turned = time.monotonic()
        while not self._stopping:
            try:
                await asyncio.wait_for(self._wake.wait(), self._wiring.recover.tick_s)
            except TimeoutError:
                pass
            self._wake.clear()
            now = time.monotonic()
            if now - turned > self._wiring.recover.tick_s + 0.5:
                self._nodes.forgive(now - turned)
            turned = now
            await self._turn()

    def _mind_disk(self, now: float) -> None:
        """Says once when the disk is full, and once when it no longer is: nothing else explains what follows."""
        if now - self._disk_seen < 2.0:
            return
        self._disk_seen = now
        reserve = self._wiring.nodes_root / "reserve"
        free = shutil.disk_usage(self._wiring.nodes_root).free
        full = free < FULL_BYTES * (2 if self._disk_full else 1)
        if full and not self._disk_full:
            reserve.unlink(
                missing_ok=True
            )  # room for a failover: its facts and its first WAL must be written
            self._events.write(
                "disk_full",
                f"THE DISK IS FULL: {free // 2**20} MB are left for {self._wiring.nodes_root}. Make room; the shop mends itself then.",
            )
        elif self._disk_full and not full:
            self._events.write("disk_room", f"There is room on the disk again ({free // 2**20} MB).")
        if free > 10 * RESERVE_BYTES and not reserve.exists():
            _reserve(reserve)
        self._disk_full = full

    async def _turn(self) -> None:
        """Observe, decide, act, publish."""
        self._mind_disk(time.monotonic())
        self._children.turn()
        await self._turn_nodes(quiet=False)

    async def _turn_nodes(self, *, quiet: bool) -> None:
        decision = decide(self._nodes.snapshot())
        if decision.sentence != self._sentence:
            self._events.write(
                "decision",
                decision.sentence,
                quiet=quiet or (not decision.actions and self._phase == "starting"),
            )
            self._sentence = decision.sentence
        problem = ""
        for action in decision.actions:
            try:
                await self._keeper.act(action)
            except (EveropenError, *PROBE_ERRORS) as error:
                problem = f"{type(action).__name__} failed: {error or type(error).__name__}"
        try:
            self._publish()
        except (
            OSError
        ) as error:  # a full disk: all go on with what they last read, and the next turn tries again
            problem = f"The topology can't be published: {error}"
        if problem and problem != self._problem:  # once per problem: this is tried many times a second
            self._events.write("act_failed", problem)
        self._problem = problem

    # -- start -----------------------------------------------------------------------------------------------------

    def _adopt(self, living: list[ProcessRecord]) -> None:
        """Takes over what a former supervisor started and what lives."""
        for spec in self._wiring.children:
            self._children.want(spec)
        adopted = [record.name for record in living if self._nodes.exists() and self._nodes.adopt(record)]
        adopted += [record.name for record in living if self._children.adopt(record)]
        self._children.end_strangers()
        if adopted:
            self._events.write(
                "adopted",
                f"A new supervisor took over {len(adopted)} living processes: {', '.join(sorted(adopted))}.",
            )
        for record in living:
            if record.role == "standby" and record.name not in adopted:
                process.send(
                    record.identity, signal.SIGINT
                )  # the settings want fewer than when it was started
        self._cold = not self._nodes.exists() or (self._nodes.leader.dead() and not adopted)
        if self._children.ready("gateway") and not self._cold:
            self._phase = "open"

    async def _start(self) -> None:
        if self._cold:
            startup.check_room(self._wiring, new=not self._nodes.exists())
        if not self._nodes.exists():
            await startup.first_start(self._wiring, self._nodes, self._events)
        else:
            startup.fit_nodes(self._wiring, self._nodes)
            if self._cold:
                await startup.start_nodes(self._wiring, self._nodes, self._keeper, self._events)
        self._keeper.watch()
        await self._until_confirmed()
        self._cold = False
        self._publish()

    async def _until_confirmed(self) -> None:
        """Turns the loop until commits are confirmed (or policy and time say to go on), so that orders start safe."""
        began = time.monotonic()
        while time.monotonic() - began < 60.0 and not self._stopping:
            await self._turn_nodes(quiet=True)
            state = self._nodes.state
            leader_ready = self._nodes.primary_view() is not None
            if leader_ready and (state.synchronous or not self._nodes.others(state.leader)):
                return
            if leader_ready and not state.alone and time.monotonic() - began > 0.2:
                return  # commits wait for the standby anyway; nothing is acknowledged too early
            self._children.turn()
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), 0.05)
            except TimeoutError:
                pass

    # -- publishing ------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        state = self._nodes.state
        durability: Literal["synchronous", "alone", "waiting"] = (
            "alone" if state.alone else "synchronous" if state.synchronous else "waiting"
        )
        fresh = Topology(
            epoch=state.epoch,
            version=self._published.version,
            primary=None
            if self._cold
            else self._nodes.primary_view(),  # a shop opens with a standby, or says so
            standbys=self._nodes.standby_views(),
            workers=tuple(
                WorkerView(name, Endpoint(path=str(path))) for name, path in self._children.ready("worker")
            ),
            durability=durability,
        )
        if fresh != self._published:
            self._published = msgspec.structs.replace(fresh, version=self._published.version + 1)
            topology.publish(self._wiring.home.topology_file, self._published)
        open_now = bool(fresh.primary and fresh.workers and self._children.ready("gateway"))
        if open_now and self._phase == "starting":
            self._phase = "open"
            self._events.write(
                "open", f"The shop is open: {self._wiring.shop_url}   (console: {self._wiring.console_url})"
            )
        self._save_registry()

    def _save_registry(self) -> None:
        guardian_state = "running" if process.alive(self._guardian) else "down"
        records = [
            ProcessRecord(
                "guardian",
                "guardian",
                self._guardian.pid,
                self._guardian.start_ticks,
                guardian_state,
                Endpoint(),
                self._guardian_since,
            ),
            ProcessRecord(
                "supervisor",
                "supervisor",
                self._own.pid,
                self._own.start_ticks,
                "running",
                Endpoint(),
                self._since,
            ),
            *(self._nodes.records() if self._nodes.exists() else ()),
            *self._children.records(),
        ]
        fresh = Registry(
            process.boot_id(),
            self._phase,
            ("The disk is full. " if self._disk_full else "") + self._sentence,
            self._wiring.shop_url,
            self._wiring.console_url,
            tuple(records),
            self._events.recent,
        )
        if fresh != self._saved:
            registry.save(self._wiring.home.processes_file, fresh)
            self._saved = fresh

    async def _run_beside(self) -> None:
        """What compose wants to run beside the loop; its end or failure is said and changes nothing else."""
        if self._wiring.companion is not None:
            try:
                await self._wiring.companion(lambda sentence: self._events.write("beside", sentence))
            except (EveropenError, OSError) as error:
                self._events.write("beside", str(error))

    async def _beat(self) -> None:
        """Tells the guardian that this loop turns."""
        path = self._wiring.home.run / "supervisor.beat"
        while True:
            path.touch()
            await asyncio.sleep(0.5)

    # -- guardian and end ------------------------------------------------------------------------------------------

    def _watch_guardian(self) -> None:
        process.watch_exit(self._guardian, self._replace_guardian)

    def _replace_guardian(self) -> None:
        if self._stopping:
            return
        command = [*self._wiring.guardian_command, "--supervisor", f"{self._own.pid}:{self._own.start_ticks}"]
        try:
            self._guardian = process.spawn(
                command,
                log=self._wiring.home.logs / "guardian.log",
                keep_descriptors=self._wiring.descriptors,
                environment=self._wiring.environment,
            )
        except OSError as error:
            self._events.write("guardian_failed", f"The guardian ended and can't be replaced: {error}")
            asyncio.get_running_loop().call_later(5.0, self._replace_guardian)
            return
        self._guardian_since = time.time()
        self._events.write(
            "guardian",
            "The guardian ended unasked; a new one holds the sockets now. Close the shop with `everopen down`.",
        )
        self._watch_guardian()
        self._wake.set()

    def _stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def _close(self) -> None:
        """Closes in the order of the requests: no new ones, finish the old ones, then the database."""
        self._phase = "stopping"
        try:
            self._save_registry()
        except OSError as error:
            self._events.write(
                "registry_failed", f"The list of processes can't be written: {error}", quiet=True
            )
        self._events.write("stop", "Closing: gateways finish their requests …")
        await self._children.stop("gateway")
        for role in ("worker", "payments", "console"):
            await self._children.stop(role)
        self._children.end_strangers()
        self._events.write("stop", "Closing: the database writes everything down …")
        try:
            await asyncio.wait_for(self._keeper.shut_down(), 60)
        except (TimeoutError, ClusterError) as error:
            self._events.write(
                "stop_failed",
                f"The database did not stop cleanly ({error}); it will recover at the next start.",
            )
        shutil.rmtree(
            self._wiring.home.run, ignore_errors=True
        )  # sockets, topology, registry: nothing outlives a close
        self._events.write("closed", "Closed.")


def main(wiring: Wiring) -> int:
    """Runs the supervisor and returns its exit status; a start that can't succeed is 3, so that nobody repeats it."""
    events = EventLog(wiring.home.events_file)

    async def run() -> None:
        await Supervisor(wiring, events).run()

    try:
        asyncio.run(run())
    except StartError as error:
        if error.__cause__ is not None:
            _log_details(wiring.home, error)
        complain(f"\neveropen: {error.cause}\n          {error.next_step}")
        return exit_code(wiring.home)
    except Exception as error:
        _log_details(wiring.home, error)
        complain(
            f"The supervisor failed ({type(error).__name__}: {error}); the details are in {wiring.home.logs / 'supervisor.log'}."
        )
        return 1
    return 0


def exit_code(home: Home) -> int:
    """Of a supervisor that can't start: the guardian gives up only where no shop is left to mind."""
    return 1 if registry.serving(home.processes_file) else StartError.exit_code


def _reserve(path: Path) -> None:
    """A file of real blocks; its lack is no reason to fail."""
    try:
        with open(path, "wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, RESERVE_BYTES)
    except OSError:
        path.unlink(missing_ok=True)


def _log_details(home: Home, error: Exception) -> None:
    """The traceback, for those who mend the program; people read the sentence."""
    with open(home.logs / "supervisor.log", "a") as log:
        log.write(time.strftime("%Y-%m-%d %H:%M:%S\n"))
        traceback.print_exception(error, file=log)
