"""A plan says what to break, how often and under which load; its schedule says exactly when. Pure: the same plan, seed and
faults give the same sequence and the same times, so that a bad run can be run again.

Times are a wish: a strike waits for the shop to be whole (unless the phase is a storm), and the timeline keeps both when it
was planned and when it struck. Choosing the next fault while running was turned down: it could not be repeated.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from everopen.base.clock import Rng
from everopen.base.errors import InputError
from everopen.drill.workload import parse_mix, parse_steps

BUILT_IN = ("quick", "flash-sale", "bad-day", "soak")
WARM_UP_S = 3.0
"""Calm trade before the first strike, to know what usual looks like."""
COOL_DOWN_S = 3.0
SECOND_AFTER_S = 1.5
"""Within a pair, the second fault comes at most so long after the first."""


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clients of a drill."""

    rate: Annotated[float, Meta(gt=0, le=50_000)] = 100.0
    """New clients per second (a visit makes several requests)."""
    steps: str = ""
    """A course instead of a rate: 0:50,20:400 (second:rate)."""
    mix: str = "wide"
    arrivals: str = "poisson"
    skus: Annotated[int, Meta(ge=1, le=100_000)] = 50
    hot_stock: Annotated[int, Meta(ge=0)] = 0
    """How many there are of the first product; 0: plenty. It should sell out in a flash sale."""
    baskets: str = ""
    """For the kind `basket`: a sales history (CSV), or `sample`."""
    attempt_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """A client's patience with one try; then it sends the same key again."""
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 40.0
    """When it gives up."""
    slow_ms: Annotated[float, Meta(gt=0)] = 250.0
    """From this wait on a request counts as slow, so as an effect of the fault."""
    connections: Annotated[int, Meta(ge=1, le=20_000)] = 512


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of a plan. `each`: every fault so often, in rounds of random order. `strikes`: so many in all, chosen at
    random. Exactly one of the two."""

    faults: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Names or patterns (`kill-*`); a name that stands twice comes twice as often."""
    each: Annotated[int, Meta(ge=0, le=10_000)] = 0
    strikes: Annotated[int, Meta(ge=0, le=100_000)] = 0
    together: Annotated[int, Meta(ge=1, le=10)] = 1
    """So many at once."""
    every_s: Annotated[float, Meta(gt=0)] | None = None
    """From one strike to the next."""
    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Instead of `every_s`: the strikes fill this share of the plan's time."""
    storm: bool = False
    """Strike on time, whether or not the shop is whole again."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A drill before it is run."""

    name: str = ""
    description: str = ""
    seconds: Annotated[float, Meta(gt=0, le=14 * 86_400)] = 60.0
    calm_s: Annotated[float, Meta(ge=0)] = 2.0
    """At least so long between being whole again and the next strike (not in a storm)."""
    patience_s: Annotated[float, Meta(gt=0)] = 60.0
    """How long to wait until the shop is whole again."""
    load: LoadPlan = LoadPlan()
    listen: bool = False
    """Subscribe to events and judge what is delivered (a webhook per event costs the shop about as much as an order)."""
    phase: tuple[Phase, ...] = ()
    scratch_disk_mb: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """A scratch shop lives on a disk of its own of this size, where the machine allows it (root). 0: it does not."""
    shop: dict[str, str] = {}
    """Settings of a scratch shop (EVEROPEN_SECTION_NAME)."""


class Strike(msgspec.Struct, frozen=True):
    """One fault at one time. Strikes of one group overlap."""

    at_s: float
    """From the start of the load."""
    fault: str
    group: int
    seed: int
    storm: bool = False


def built_in() -> Iterator[Plan]:
    """All plans that come with the package."""
    for name in BUILT_IN:
        yield load_plan(name)


def load_plan(name: str) -> Plan:
    """A built-in plan by name, or a plan file. Raises InputError."""
    try:
        if name in BUILT_IN:
            text = files("everopen.drill.plans").joinpath(f"{name}.toml").read_text()
        else:
            text = Path(name).read_text()
        plan = msgspec.convert(tomllib.loads(text), Plan)
    except OSError:
        raise InputError(
            f"There is no plan {name!r}.", f"Built in are {', '.join(BUILT_IN)}; or name a TOML file."
        ) from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as problem:
        raise InputError(
            f"{name} is no plan: {problem}.", "`everopen drill list` shows where to look up examples."
        ) from None
    parse_mix(plan.load.mix)
    if plan.load.steps:
        parse_steps(plan.load.steps)
    for phase in plan.phase:
        if bool(phase.each) == bool(phase.strikes) or bool(phase.every_s) == bool(phase.share):
            raise InputError(
                f"A phase of {name} is not clear.", "Give it `each` or `strikes`, and `every_s` or `share`."
            )
    return msgspec.structs.replace(plan, name=plan.name or Path(name).stem)


def matching(patterns: Iterable[str], known: Sequence[str]) -> list[str]:
    """The known faults that the patterns name, in the registry's order per pattern."""
    return [name for pattern in patterns for name in known if fnmatchcase(name, pattern)]


def unmatched(plan: Plan, known: Sequence[str]) -> list[str]:
    """Patterns of a plan that no fault has."""
    patterns = {pattern for phase in plan.phase for pattern in phase.faults}
    return sorted(pattern for pattern in patterns if not matching([pattern], known))


def wanted(plan: Plan, known: Sequence[str]) -> dict[str, int]:
    """How often a plan asks for each fault by name (`each`; random strikes promise no number)."""
    found: dict[str, int] = {}
    for phase in plan.phase:
        for name in matching(phase.faults, known):
            found[name] = found.get(name, 0) + phase.each
    return found


def schedule(
    plan: Plan, runnable: Sequence[str], seed: int, *, seconds: float | None = None
) -> tuple[Strike, ...]:
    """When what strikes. `runnable`: faults that this machine can run, in the registry's order. `seconds` cuts it short and
    changes nothing before."""
    rng = Rng(f"{plan.name} {seed}")
    found: list[Strike] = []
    at, group = WARM_UP_S, 0
    for phase in plan.phase:
        names = matching(phase.faults, runnable)
        if not names:
            continue
        together = min(phase.together, len(set(names)))
        rounds = list(_rounds(phase, names, together, rng))
        gap = phase.every_s or (phase.share or 1.0) * (plan.seconds - WARM_UP_S - COOL_DOWN_S) / len(rounds)
        for chosen in rounds:
            group += 1
            moment = at
            for index, name in enumerate(chosen):
                if index:
                    moment += rng.random() * SECOND_AFTER_S
                found.append(Strike(round(moment, 3), name, group, rng.getrandbits(32), phase.storm))
            at += gap
    until = (seconds or plan.seconds) - COOL_DOWN_S
    return tuple(strike for strike in found if strike.at_s <= until)


def _rounds(phase: Phase, names: list[str], together: int, rng: Rng) -> Iterator[list[str]]:
    if phase.each:
        for _ in range(phase.each):
            shuffled = list(dict.fromkeys(names))
            rng.shuffle(shuffled)
            for start in range(0, len(shuffled), together):
                yield shuffled[start : start + together]
        return
    for _ in range(phase.strikes):
        chosen: list[str] = []
        while len(chosen) < together:
            name = rng.choice(names)
            if name not in chosen:
                chosen.append(name)
        yield chosen
