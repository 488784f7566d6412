"""One sample a second of everything that can be seen from outside: processes, disk, replication. Together with the labels
of the timeline it becomes `telemetry.jsonl`, from which prediction learns what comes before a failure.

A thread, because faults and commands block; it only reads files, so it costs milliseconds per second.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from everopen.base.topology import TopologyReader
from everopen.drill.ground import NODE_ROLES, Ground, node_processes

EPOCH_POLL_S = 0.02
WHOLE_EVERY = 3
UNNOTICED_S = 0.3
"""A missing process is noticed by the next look; a shop that is whole for so long after a fault lacks nothing."""
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessSample(msgspec.Struct, frozen=True):
    """A process now (a node with all its children). `cpu_s` counts from its start."""

    name: str
    role: str
    pid: int
    state: str
    processes: int
    rss_bytes: int
    cpu_s: float
    descriptors: int
    threads: int


class Sample(msgspec.Struct, frozen=True):
    """What was seen at one moment (Unix time)."""

    at: float
    whole: bool
    epoch: int
    durability: str
    standbys: tuple[dict[str, Any], ...]
    workers: int
    """In the topology."""
    disk_free_bytes: int
    memory_free_bytes: int
    load_1min: float
    processes: tuple[ProcessSample, ...]


class Sampler:
    """Use as `with`; samples a ground from then on."""

    def __init__(self, ground: Ground) -> None:
        self.samples: list[Sample] = []
        self.epochs: list[tuple[float, float]] = []
        """Changes of primary: (last time the old epoch was seen, first time the new one was)."""
        self.whole: list[list[float]] = []
        """Stretches [from, until] in which the shop was whole."""
        self._ground = ground
        self._topology = TopologyReader(ground.home.topology_file)
        self._was_whole = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        epoch, seen, beat = 0, time.time(), 0
        following = time.monotonic()
        while not self._stop.wait(EPOCH_POLL_S):
            topology, now = self._topology.current(), time.time()
            if topology is not None:
                if epoch and topology.epoch != epoch:
                    self.epochs.append((seen, now))
                epoch, seen = topology.epoch, now
            beat += 1
            if beat % WHOLE_EVERY == 0:
                self._note_whole(now)
            if time.monotonic() >= following:
                following += 1.0
                try:
                    self.samples.append(self._sample())
                except (OSError, ValueError):
                    continue  # a process ended while it was looked at: the next second has its sample

    def _note_whole(self, now: float) -> None:
        if not self._ground.whole():
            self._was_whole = False
        elif self._was_whole:
            self.whole[-1][1] = now
        else:
            self._was_whole = True
            self.whole.append([now, now])

    def whole_after(self, at: float) -> float | None:
        """When the shop was whole again after something happened to it at `at`; None: not since."""
        for start, end in list(self.whole):
            if start > at:
                return start
            if end > at + UNNOTICED_S:
                return at  # it went on being whole: nothing was missed
        return None

    def _sample(self) -> Sample:
        ground, topology = self._ground, self._topology.current()
        disk = os.statvfs(ground.home.nodes)
        return Sample(
            round(time.time(), 3),
            ground.whole(),
            topology.epoch if topology else 0,
            topology.durability if topology else "",
            tuple(
                {"name": node.name, "state": node.state, "synchronous": node.synchronous}
                for node in (topology.standbys if topology else ())
            ),
            sum(1 for worker in topology.workers if worker.state == "up") if topology else 0,
            disk.f_bavail * disk.f_frsize,
            _memory_free(),
            os.getloadavg()[0],
            tuple(_look(entry.name, entry.role, entry.pid, entry.state) for entry in ground.processes() if entry.alive),
        )  # fmt: skip


def _look(name: str, role: str, pid: int, state: str) -> ProcessSample:
    pids = node_processes(pid) if role in NODE_ROLES else [pid]
    rss = descriptors = threads = 0
    cpu_s = 0.0
    for one in pids:
        try:
            text = Path(f"/proc/{one}/stat").read_text()
            fields = text[text.rindex(")") + 2 :].split()
            statm = Path(f"/proc/{one}/statm").read_text().split()
            cpu_s += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
            threads += int(fields[17])
            # Of a node's children only what is theirs alone: they all map the same shared buffers.
            rss += (int(statm[1]) - (int(statm[2]) if one != pid else 0)) * PAGE
            descriptors += len(os.listdir(f"/proc/{one}/fd"))
        except (OSError, ValueError):
            continue
    return ProcessSample(name, role, pid, state, len(pids), rss, round(cpu_s, 2), descriptors, threads)


def _memory_free() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def lines_of(
    samples: Sequence[Sample], seconds: Sequence[Any], labels: dict[int, dict[str, list[str]]]
) -> list[dict[str, Any]]:
    """One line per second: the sample, what clients saw in that second, and the labels."""
    by_second = {second.at: msgspec.to_builtins(second) for second in seconds}
    return [
        {
            **msgspec.to_builtins(sample),
            "clients": by_second.get(int(sample.at)),
            "labels": labels.get(int(sample.at), {"faults": [], "troubled": []}),
        }
        for sample in samples
    ]
