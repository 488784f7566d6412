"""Plans and schedules: what strikes when, and that it can be repeated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from everopen.base.errors import InputError
from everopen.drill.faults import FAULTS
from everopen.drill.plan import BUILT_IN, Phase, Plan, load_plan, matching, schedule, unmatched, wanted

KNOWN = ["kill-primary", "kill-worker", "stop-primary", "slow-disk"]


def plan(*phases: Phase, seconds: float = 1000.0) -> Plan:
    return Plan(name="p", seconds=seconds, phase=phases)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_plan_can_be_read_and_names_faults_that_exist(name: str) -> None:
    found = load_plan(name)
    assert found.name == name
    assert found.description
    assert unmatched(found, list(FAULTS)) == []
    assert schedule(found, list(FAULTS), 1)


def test_a_bad_day_has_every_fault_five_times_and_five_hundred_kills() -> None:
    found = load_plan("bad-day")
    assert found.seconds == 1800
    assert set(wanted(found, list(FAULTS)).values()) == {5}
    times = Counter(strike.fault for strike in schedule(found, list(FAULTS), 1))
    assert min(times[name] for name in FAULTS) >= 5
    assert sum(count for name, count in times.items() if name.startswith("kill-")) >= 500


def test_the_same_seed_gives_the_same_faults_at_the_same_times() -> None:
    day = plan(
        Phase(faults=("*",), each=3, every_s=5), Phase(faults=("kill-*",), strikes=9, together=2, every_s=4)
    )
    assert schedule(day, KNOWN, 7) == schedule(day, KNOWN, 7)
    assert schedule(day, KNOWN, 7) != schedule(day, KNOWN, 8)


def test_a_plan_that_is_cut_short_begins_like_the_whole() -> None:
    day = plan(Phase(faults=("*",), each=20, every_s=5))
    whole, short = schedule(day, KNOWN, 7), schedule(day, KNOWN, 7, seconds=60)
    assert whole[: len(short)] == short
    assert len(short) == 11


def test_each_fault_comes_once_per_round_in_random_order() -> None:
    strikes = schedule(plan(Phase(faults=("*",), each=5, every_s=5)), KNOWN, 3)
    rounds = [tuple(strike.fault for strike in strikes[at : at + 4]) for at in range(0, 20, 4)]
    assert all(sorted(some) == sorted(KNOWN) for some in rounds)
    assert len(set(rounds)) > 1


def test_a_pair_is_two_different_faults_shortly_after_each_other() -> None:
    strikes = schedule(plan(Phase(faults=("*",), strikes=50, together=2, every_s=5)), KNOWN, 3)
    groups: dict[int, list[tuple[float, str]]] = {}
    for strike in strikes:
        groups.setdefault(strike.group, []).append((strike.at_s, strike.fault))
    assert len(groups) == 50
    assert all(
        len({fault for _, fault in some}) == 2 and some[1][0] - some[0][0] < 1.51 for some in groups.values()
    )


def test_a_share_spreads_the_strikes_over_the_plan() -> None:
    day = plan(
        Phase(faults=("*",), strikes=10, share=0.5), Phase(faults=("*",), strikes=90, share=0.5, storm=True)
    )
    strikes = schedule(day, KNOWN, 3)
    assert len(strikes) == 100
    assert 450 < strikes[9].at_s < strikes[10].at_s < 510
    assert strikes[-1].at_s < 1000
    assert [strike.storm for strike in strikes] == [False] * 10 + [True] * 90


def test_a_name_that_stands_twice_comes_twice_as_often() -> None:
    strikes = schedule(
        plan(Phase(faults=("kill-worker", "kill-worker", "kill-primary"), strikes=300, every_s=1)), KNOWN, 3
    )
    times = Counter(strike.fault for strike in strikes)
    assert times["kill-worker"] > 1.5 * times["kill-primary"] > 0
    assert matching(["kill-*", "x-*"], KNOWN) == ["kill-primary", "kill-worker"]


def test_what_nobody_can_run_leaves_no_hole() -> None:
    assert schedule(plan(Phase(faults=("x-*",), each=2, every_s=5)), KNOWN, 3) == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("seconds = -1", "is no plan"),
        ("unknown = 1", "is no plan"),
        ("[[phase]]\nfaults = ['*']\neach = 1", "is not clear"),
        ("[[phase]]\nfaults = ['*']\neach = 1\nstrikes = 2\nevery_s = 1", "is not clear"),
        ("[load]\nmix = 'cold'", "is no part of a mix"),
        ("[load]\nsteps = '9:1,3:1'", "no course of a load"),
        ("= nonsense", "is no plan"),
    ],
)
def test_a_wrong_plan_is_refused_with_a_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "mine.toml").write_text(text + "\n")
    with pytest.raises(InputError, match=complaint):
        load_plan(str(tmp_path / "mine.toml"))


def test_a_plan_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(InputError, match="quick, flash-sale, bad-day, soak"):
        load_plan("nothing")
