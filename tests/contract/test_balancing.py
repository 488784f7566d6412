"""What holds for every load-balancing policy; a newcomer in `POLICIES` is taken in by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from everopen.base.clock import Rng
from everopen.gateway.balancing import POLICIES
from everopen.gateway.health import State, eligible

WEIGHTED = {"weighted_random", "power_of_two"}


@dataclass(eq=False)
class View:
    """A backend as a policy sees it."""

    name: str
    weight: float = 1.0
    in_flight: int = 0
    state: State = "healthy"
    draining: bool = False


def views(count: int) -> list[View]:
    return [View(f"worker-{number}") for number in range(count)]


@pytest.fixture(params=sorted(POLICIES))
def policy_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 24])
def test_equal_backends_get_equal_shares(policy_name: str, count: int) -> None:
    policy, rng, backends = POLICIES[policy_name](), Rng(7), views(count)
    picks = Counter(policy.choose(backends, rng).name for _ in range(2000 * count))
    assert set(picks) == {backend.name for backend in backends}
    assert all(1700 < number < 2300 for number in picks.values()), picks


def test_weights_shift_the_shares_where_the_policy_knows_weights(policy_name: str) -> None:
    """Each choice stays in flight for 20 further choices, as under a steady load."""
    policy, rng = POLICIES[policy_name](), Rng(7)
    backends = [View("heavy", weight=3.0), View("light", weight=1.0)]
    picks: Counter[str] = Counter()
    under_way: list[View] = []
    for _ in range(8000):
        chosen = policy.choose(backends, rng)
        picks[chosen.name] += 1
        chosen.in_flight += 1
        under_way.append(chosen)
        if len(under_way) > 20:
            under_way.pop(0).in_flight -= 1
    ratio = picks["heavy"] / picks["light"]
    assert (2.5 < ratio < 3.6) if policy_name in WEIGHTED else (0.85 < ratio < 1.18), picks


def test_backends_that_are_out_or_draining_are_never_chosen(policy_name: str) -> None:
    policy, rng, backends = POLICIES[policy_name](), Rng(7), views(6)
    backends[0].state, backends[1].state, backends[2].draining = "refusing", "suspect", True
    able = eligible(backends)
    assert {policy.choose(able, rng).name for _ in range(500)} == {"worker-3", "worker-4", "worker-5"}


def test_gateways_that_see_the_same_do_not_all_choose_the_same(policy_name: str) -> None:
    first = Counter(POLICIES[policy_name]().choose(views(4), Rng(seed)).name for seed in range(400))
    assert len(first) == 4
    assert max(first.values()) < 160, first


def test_one_seed_gives_one_sequence(policy_name: str) -> None:
    def run() -> list[str]:
        policy, rng, backends = POLICIES[policy_name](), Rng(42), views(5)
        return [policy.choose(backends, rng).name for _ in range(100)]

    assert run() == run()


def test_a_changing_set_of_backends_is_no_trouble(policy_name: str) -> None:
    policy, rng, backends = POLICIES[policy_name](), Rng(3), views(9)
    for turn in range(500):
        some = backends[: 1 + turn % 9]
        assert policy.choose(some, rng) in some


def test_weights_of_zero_leave_a_choice(policy_name: str) -> None:
    policy, rng = POLICIES[policy_name](), Rng(3)
    backends = [View("one", weight=0.0), View("two", weight=0.0)]
    assert {policy.choose(backends, rng).name for _ in range(200)} == {"one", "two"}


def test_a_choice_looks_at_each_backend_at_most_twice(policy_name: str) -> None:
    """The cost of a choice, counted in reads instead of seconds."""
    reads = 0

    class Counting(View):
        def __getattribute__(self, name: str) -> object:
            nonlocal reads
            reads += name in ("weight", "in_flight")
            return super().__getattribute__(name)

    backends = [Counting(f"worker-{number}") for number in range(50)]
    reads = 0
    for _ in range(100):
        POLICIES[policy_name]().choose(backends, Rng(1))
    assert reads <= 100 * 2 * len(backends)


def test_power_of_two_prefers_the_idle_backend_without_storming_it() -> None:
    policy, rng, backends = POLICIES["power_of_two"](), Rng(5), views(5)
    for backend in backends[1:]:
        backend.in_flight = 10
    picks = Counter(policy.choose(backends, rng).name for _ in range(5000))
    assert 0.35 < picks["worker-0"] / 5000 < 0.45  # 2/5: the chance to be among the two that are drawn
