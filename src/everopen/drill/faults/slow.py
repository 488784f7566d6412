"""Slow: a process gets a few hundredths of a core: it answers, late.

By control group (cpu.max, or the quota of version 1) where we may make one; else by stopping and continuing it many times
a second, which any user may do to their own processes and which gives the same share. `nice` was turned down: it does
nothing on an idle machine and can't be taken back without root.
"""

from __future__ import annotations

import signal
import threading

import msgspec

from everopen.base import process
from everopen.base.clock import Rng
from everopen.base.process import Identity
from everopen.drill.faults import cgroups
from everopen.drill.faults.cgroups import Group
from everopen.drill.faults.fault import NOT_COVERED, NOTHING_FAILS, Injected, Promise
from everopen.drill.faults.victims import as_data, choose, identities, may_touch, missing_role
from everopen.drill.ground import Ground

SHARE = 0.05
PERIOD_S = 0.1
PROMISES: dict[str, Promise] = {
    # Gateways send less to a worker that is slow; what it has is late, not lost.
    "worker": NOTHING_FAILS,
    # Commits wait for it: late, not lost.
    "standby": NOTHING_FAILS,
    # Everything goes through it: how late depends on the load, and clients give up when they like.
    "primary": NOT_COVERED,
    "gateway": NOT_COVERED,
}


class _Pulse(threading.Thread):
    """Stops processes for most of every period."""

    def __init__(self, victims: list[Identity]) -> None:
        super().__init__(daemon=True, name="drill-slow")
        self._victims = victims
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            self._send(signal.SIGSTOP)
            self.enough.wait(PERIOD_S * (1 - SHARE))
            self._send(signal.SIGCONT)
            self.enough.wait(PERIOD_S * SHARE)
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        for victim in self._victims:
            process.send(victim, number)


class Slow:
    """One process of a role (a node with its children) on a small share of a core."""

    hold_s = 5.0

    def __init__(self, role: str) -> None:
        self.role = role
        self.name = f"slow-{role}"
        self.description = f"One {role} gets {SHARE:.0%} of a core."
        self.promise = PROMISES[role]
        self._pulses: dict[int, _Pulse] = {}

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        return missing_role(ground, self.role) or may_touch(ground, self.role)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Takes the processor away."""
        victim = choose(ground, self.role, rng)
        data: dict[str, object] = {"identities": as_data(victim.all)}
        found = cgroups.controller("cpu", "cpu.max")
        if found is not None:
            folder, version = found
            period, quota = int(PERIOD_S * 1e6), int(PERIOD_S * SHARE * 1e6)
            limits = (
                {"cpu.max": f"{quota} {period}"}
                if version == 2
                else {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)}
            )
            data["group"] = msgspec.to_builtins(cgroups.enter(folder, victim.pids, limits))
        else:
            pulse = _Pulse(list(victim.all))
            self._pulses[victim.main.pid] = pulse
            pulse.start()
        way = "a control group" if found else "stopping and continuing"
        return Injected(f"slowed {victim.name} by {way}", victim.pids, data)

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Gives the processor back."""
        if "group" in injected.data:
            cgroups.leave(msgspec.convert(injected.data["group"], Group))
        pulse = self._pulses.pop(injected.pids[0], None)
        if pulse is not None:
            pulse.enough.set()
            pulse.join(1.0)
        for identity in identities(injected.data["identities"]):
            process.send(identity, signal.SIGCONT)
