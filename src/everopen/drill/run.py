"""Runs a plan: clients order, faults strike and are healed, and once it is quiet the evidence is gathered and judged.

One thread strikes and heals in turn, so that two faults never trip over each other's handling; a second one only looks.
Whatever happens (Ctrl-C, an exception, a shop that stays down), everything is healed and the clients are stopped.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.checkers import CHECKERS, Checker
from everopen.drill.clients import Clients
from everopen.drill.evidence import Audit, read_stock
from everopen.drill.faults import FAULTS, Fault, Injected
from everopen.drill.ground import Ground, NotWhole
from everopen.drill.judge import Facts, build_report, gather, read_audit_of, sync, telemetry_lines
from everopen.drill.listener import Listener
from everopen.drill.plan import Plan, Strike, schedule, unmatched, wanted
from everopen.drill.report import Report
from everopen.drill.sampling import Sampler
from everopen.drill.timeline import Entry, NotRun, Slow, label
from everopen.drill.wire import Target
from everopen.telemetry.events import read_events

OVERRUN = 2.0
"""The load ends by itself after so many times the planned length."""
NOTHING_TO_BREAK_S = 5.0
LOST_CAUSES = 3
"""After so many strikes in a row that the shop did not recover from, the drill stops striking."""


class _Active:
    def __init__(self, entry: Entry, fault: Fault, injected: Injected, heal_at: float) -> None:
        self.entry = entry
        self.fault = fault
        self.injected = injected
        self.heal_at = heal_at


class Striker:
    """Injects, heals, waits, and keeps the timeline."""

    def __init__(
        self, ground: Ground, faults: Mapping[str, Fault], plan: Plan, clients: Clients, sampler: Sampler
    ) -> None:
        self.entries: list[Entry] = []
        self.skipped: list[str] = []
        self._ground = ground
        self._faults = faults
        self._plan = plan
        self._clients = clients
        self._sampler = sampler
        self._active: list[_Active] = []
        self._lost_causes = 0

    def run(self, strikes: Sequence[Strike], began: float, until: float) -> None:
        """All strikes in their groups; returns at `until` or later. Raises EveropenError when the clients are gone."""
        groups: dict[int, list[Strike]] = {}
        for strike in strikes:
            groups.setdefault(strike.group, []).append(strike)
        for number, group in enumerate(groups.values(), 1):
            storm = group[0].storm
            self._wait(began + group[0].at_s)
            late = max(0.0, time.time() - began - group[0].at_s)
            fresh = []
            for strike in group:
                self._wait(began + strike.at_s + late)
                if (entry := self._inject(strike, began, number, len(groups))) is not None:
                    fresh.append(entry)
            if storm:
                continue
            while any(active.entry in fresh for active in self._active):
                self._wait(min(active.heal_at for active in self._active))
            self._until_whole(fresh)
            if self._lost_causes >= LOST_CAUSES:
                self._ground.note("The shop does not recover any more: no further faults.")
                break
            self._wait(time.time() + self._plan.calm_s)
        while self._active:
            self._wait(min(active.heal_at for active in self._active))
        self._until_whole([])
        self._wait(until)

    def heal_all(self) -> None:
        """Takes everything back, at once."""
        for active in list(self._active):
            self._heal(active)

    def settle(self) -> None:
        """Fills in when the shop was whole after faults that nobody waited for (a storm)."""
        for entry in self.entries:
            if entry.whole is None:
                entry.whole = self._sampler.whole_after(max(entry.injected, entry.healed or 0.0))

    def _wait(self, until: float) -> None:
        while True:
            now = time.time()
            for active in [active for active in self._active if active.heal_at <= now]:
                self._heal(active)
            following = min([until, *(active.heal_at for active in self._active)])
            if until <= time.time():
                return
            self._clients.check()
            time.sleep(min(0.5, max(0.001, following - time.time())))

    def _inject(self, strike: Strike, began: float, number: int, of: int) -> Entry | None:
        fault = self._faults[strike.fault]
        deadline = time.time() + NOTHING_TO_BREAK_S
        while True:
            start = time.time()
            try:
                injected = fault.inject(self._ground, Rng(strike.seed))
                break
            except EveropenError as problem:
                if time.time() > deadline:
                    self.skipped.append(strike.fault)
                    self._ground.note(f"{number}/{of} {strike.fault}: not now: {problem.cause}")
                    return None
                time.sleep(0.2)
        now = time.time()
        killed = len(injected.pids) if strike.fault.startswith("kill-") else 0
        data = {name: value for name, value in injected.data.items() if name != "identities"}
        entry = Entry(
            fault=strike.fault,
            group=strike.group,
            target=injected.what,
            pids=injected.pids,
            kills=killed,
            planned=began + strike.at_s,
            start=start,
            injected=now,
            healed=now if killed or not fault.hold_s else None,
            data=data,
        )
        self.entries.append(entry)
        self._ground.note(f"{number}/{of} {strike.fault}: {injected.what}")
        self._active.append(_Active(entry, fault, injected, now + fault.hold_s))
        return entry

    def _heal(self, active: _Active) -> None:
        if active in self._active:
            self._active.remove(active)
        for attempt in range(3):
            try:
                active.fault.heal(self._ground, active.injected)
                active.entry.healed = active.entry.healed or time.time()
                return
            except (
                Exception
            ) as problem:  # a fault that can't be healed now must not keep others from being healed
                active.entry.note = f"healing failed: {problem}"
                time.sleep(0.2 * (attempt + 1))
        self._ground.note(f"{active.entry.fault}: {active.entry.note}")

    def _until_whole(self, fresh: list[Entry]) -> None:
        gone = [pid for entry in fresh if entry.kills for pid in entry.pids]
        try:
            at = self._ground.until_whole(self._plan.patience_s, gone=gone)
        except NotWhole as problem:
            self._lost_causes += 1
            self._ground.note(problem.cause)
            for entry in fresh:
                entry.note = entry.note or problem.cause
            return
        self._lost_causes = 0
        for entry in fresh:
            entry.whole = max(at, entry.injected)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a drill like Ctrl-C does: with everything healed."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever started it ends it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """While healing, another Ctrl-C waits."""
    try:
        previous = {
            number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_plan(
    plan: Plan,
    ground: Ground,
    *,
    seed: int,
    folder: Path,
    seconds: float | None = None,
    url: str | None = None,
    faults: Mapping[str, Fault] = FAULTS,
    checkers: Mapping[str, Checker] = CHECKERS,
) -> Report:
    """Runs a plan on a shop that is open, and judges it. Leaves its files in `folder`. Raises EveropenError when the drill
    itself can't go on; what the shop does wrong is in the report."""
    length = min(seconds or plan.seconds, plan.seconds)
    runnable, not_run = _runnable(plan, ground, faults)
    strikes = schedule(plan, runnable, seed, seconds=length)
    address = url or ground.url
    run = folder.name
    clients = Clients(plan.load, ground, folder, url=address, seed=seed)
    with _terminable(), contextlib.ExitStack() as open_:
        ground.until_whole(plan.patience_s)
        clients.stock_up(run)
        target = Target.from_url(address)
        opening = sync(read_stock(target, clients.skus))
        before: Audit = read_audit_of(ground)
        ground.note(
            f"{plan.name}: {len(strikes)} faults in {length:,.0f} s, seed {seed}"
            + (f"; {len(not_run)} can't be run here" if not_run else "")
        )
        listener = open_.enter_context(Listener(ground)) if plan.listen else None
        with Sampler(ground) as sampler:
            striker = Striker(ground, faults, plan, clients, sampler)
            began = time.time()
            try:
                clients.start(length * OVERRUN + 300.0)
                striker.run(strikes, began, began + length)
            finally:
                with _undisturbed():
                    striker.heal_all()
                    clients.stop()
            ended = time.time()
            with contextlib.suppress(NotWhole):
                ground.until_whole(plan.patience_s)
        striker.settle()
        result = clients.result()
        troubled = [Slow(*request) for request in result.troubled]
        label(striker.entries, troubled, result.broken_at, ended=ended)
        facts = Facts(
            plan=plan,
            seed=seed,
            began=began,
            ended=ended,
            seconds_planned=length,
            scratch=ground.scratch,
            url=address,
            result=result,
            entries=striker.entries,
            not_run=[*not_run, *_skipped(striker.skipped)],
            opening=opening,
            audit_before=before,
            samples=sampler.samples,
            epochs=tuple(sampler.epochs),
        )
        ground.note("Waiting until payments are settled, then looking at every order …")
        evidence = gather(facts, ground, target, clients, faults, listener)
        report = build_report(facts, evidence, checkers, faults)
    (folder / "telemetry.jsonl").write_bytes(
        telemetry_lines(striker.entries, sampler.samples, result.seconds)
    )
    _keep_events(ground, folder, began)
    (folder / "timeline.json").write_bytes(msgspec.json.format(msgspec.json.encode(striker.entries)))
    return report


def _runnable(plan: Plan, ground: Ground, faults: Mapping[str, Fault]) -> tuple[list[str], list[NotRun]]:
    known = list(faults)
    missing = {name: reason for name in wanted(plan, known) if (reason := faults[name].missing(ground))}
    asked = wanted(plan, known)
    not_run = [NotRun(name, asked[name], reason) for name, reason in missing.items()]
    not_run += [NotRun(pattern, 0, "No fault has this name.") for pattern in unmatched(plan, known)]
    return [name for name in known if name in asked and name not in missing], not_run


def _skipped(names: Sequence[str]) -> list[NotRun]:
    reason = "When its time came there was nothing to break (the shop was still busy recovering)."
    return [NotRun(name, names.count(name), reason) for name in dict.fromkeys(names)]


def _keep_events(ground: Ground, folder: Path, began: float) -> None:
    """What the shop itself said meanwhile: the first thing to read when a checker failed."""
    events = [event for event in read_events(ground.home.events_file, last=20_000) if event.at >= began]
    (folder / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
