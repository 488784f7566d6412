"""The network between two processes goes bad: delay, stall, partition, reset.

An interposer takes the place of the socket that one of them listens on (see `drill.interpose`); connections that were
there before are cut once, so that they come again through it, and then it begins. Healing puts the real socket back and
cuts once more, as when a network finds another route.

    link             who is hurt                       who passes
    gateway-worker   all gateways, towards one worker  the supervisor's probes
    worker-primary   all workers                       the supervisor, the standby
    standby-primary  the standby                       everybody else
    worker-payments  all workers                       the supervisor's probes
"""

from __future__ import annotations

import msgspec

from everopen.base.clock import Rng
from everopen.base.process import Identity
from everopen.drill import interposer
from everopen.drill.faults.fault import CRASH, HANG, NOTHING_FAILS, Injected, Promise
from everopen.drill.faults.victims import as_data, choose, identities, living, missing_role
from everopen.drill.ground import Ground
from everopen.drill.interpose import Place

USED_S_MAX = 1.5
LINKS: dict[str, tuple[str, str]] = {
    "gateway-worker": ("gateway", "worker"),
    "worker-primary": ("worker", "primary"),
    "standby-primary": ("standby", "primary"),
    "worker-payments": ("worker", "payments"),
}
"""Who is hurt, and who listens."""

WAYS: dict[str, dict[str, float]] = {
    "delay": {"delay_s": 0.1},
    "stall": {"stall_s": 0.4, "period_s": 0.6},
    "partition": {},
    "reset": {"reset_s": 0.2},
}

PROMISES: dict[tuple[str, str], Promise] = {
    ("delay", "gateway-worker"): CRASH,
    ("stall", "gateway-worker"): HANG,
    ("partition", "gateway-worker"): HANG,
    ("reset", "gateway-worker"): CRASH,
    # The node is well and answers its supervisor, so nobody replaces it: requests wait for the network, up to
    # store.deadline_s (25 s), which is far longer than the fault stays.
    ("delay", "worker-primary"): NOTHING_FAILS,
    ("stall", "worker-primary"): NOTHING_FAILS,
    ("partition", "worker-primary"): NOTHING_FAILS,
    ("reset", "worker-primary"): NOTHING_FAILS,
    ("delay", "standby-primary"): NOTHING_FAILS,
    ("stall", "standby-primary"): NOTHING_FAILS,
    # Silent on both sides: the primary takes the old connection for a living one until wal_sender_timeout (5 s), and only
    # then does the supervisor see that no standby is left and, a second later, lets the primary go on alone.
    ("partition", "standby-primary"): Promise("none", wait_s_max=8.0, whole_s_max=30.0),
    ("reset", "standby-primary"): HANG,
    # An order is answered before its payment is asked for.
    ("delay", "worker-payments"): CRASH,
    ("stall", "worker-payments"): CRASH,
    ("partition", "worker-payments"): CRASH,
    ("reset", "worker-payments"): CRASH,
}
WORDS = {
    "delay": "Every piece waits about 0.1 s",
    "stall": "Nothing passes for 0.4 s of every 0.6 s",
    "partition": "Nothing passes and nobody is told",
    "reset": "Each connection is cut after 0.2 s or so",
}


HOLD_S = {("partition", "standby-primary"): 10.0}
"""Long enough for the shop's whole answer; others 4 s."""


class Network:
    """One way on one link."""

    def __init__(self, way: str, link: str) -> None:
        self.way, self.link = way, link
        self.name = f"network-{way}-{link}"
        self.description = f"{WORDS[way]} between {link.replace('-', ' and ')}."
        self.promise = PROMISES[way, link]
        self.hold_s = HOLD_S.get((way, link), 4.0)

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        return missing_interposing(ground, self.link)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Steps in between, then begins."""
        injected = step_in(ground, rng, self.link)
        (standing,) = identities(injected.data["interposer"])
        interposer.until_used(standing, USED_S_MAX)
        interposer.steer(standing, way=self.way, **WAYS[self.way])
        injected.what = f"{self.way} {injected.what}"
        return injected

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Steps out."""
        step_out(injected)


def missing_interposing(ground: Ground, link: str) -> str | None:
    """Why nobody can step in between on a link; None: it can be done."""
    for role in LINKS[link]:
        if sentence := missing_role(ground, role):
            return sentence
    for victim in living(ground, LINKS[link][1]):
        if not interposer.may_cut(victim.main):
            return (
                f"Cutting the connections of the {LINKS[link][1]} needs root here (pidfd_getfd is refused)."
            )
    return None


def step_in(ground: Ground, rng: Rng, link: str, **way: float | str) -> Injected:
    """Puts an interposer on a link and cuts what was connected before. With `way` it misbehaves from the first moment."""
    hurt, listens = LINKS[link]
    victim = choose(ground, listens, rng)
    bound = str(next(entry.endpoint for entry in ground.processes() if entry.name == victim.name))
    path = str(ground.home.run / "payments.sock") if listens == "payments" else bound
    place = Place(path, str(ground.home.processes_file), hurt, rng.randrange(2**31))
    standing = interposer.start(place, ground.folder / "interposer.log")
    try:
        if way:
            interposer.steer(standing, **way)
        count = interposer.cut(victim.all, bound, {each.main.pid for each in living(ground, hurt)})
    except BaseException:
        interposer.end(standing)
        raise
    return Injected(
        f"between {hurt} and {victim.name} ({count} connections were cut first)",
        victim.pids[:1],
        {"interposer": as_data([standing]), "cut": count, "place": msgspec.to_builtins(place)},
    )


def step_out(injected: Injected) -> None:
    """Puts the real socket back."""
    standing: list[Identity] = identities(injected.data["interposer"])
    for identity in standing:
        interposer.end(identity)
