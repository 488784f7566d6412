"""Labels: what clients felt is laid to the charge of the fault in whose time it was."""

from __future__ import annotations

from everopen.drill.faults import FAULTS
from everopen.drill.judge import episodes
from everopen.drill.timeline import Entry, Slow, at_once, by_itself, label, troubled_at


def entry(fault: str, start: float, group: int, **more: float) -> Entry:
    return Entry(fault=fault, group=group, target="x", planned=start, start=start, injected=start, **more)  # type: ignore[arg-type]


def test_each_fault_is_charged_with_what_was_felt_until_the_next_one() -> None:
    one, two = entry("kill-worker", 100, 1), entry("kill-primary", 110, 2)
    label(
        [one, two],
        [Slow(99.95, 100.9, False), Slow(103, 103.4, False), Slow(110.2, 112.2, True)],
        [100.1, 111.0, 111.5],
        ended=120,
    )
    assert (one.effect, one.served, one.end, one.failed, one.failure) == (100, 103.4, 110, 0, None)
    assert (two.effect, two.served, two.end, two.failed, two.failure) == (110.2, 112.2, 120, 1, 110.2)
    assert (round(one.longest_wait_s, 2), two.longest_wait_s) == (0.95, 2.0)
    assert (one.broken_connections, two.broken_connections) == (1, 2)


def test_a_fault_that_nobody_felt_has_no_effect() -> None:
    one = entry("kill-console", 100, 1)
    label([one], [Slow(50, 60, True)], [], ended=120)
    assert (one.effect, one.served, one.failed, one.end) == (None, None, 0, 120)


def test_faults_of_one_group_share_what_was_felt() -> None:
    one, two = entry("kill-worker", 100, 1), entry("kill-primary", 101, 1)
    label([one, two], [Slow(101.5, 102.5, True)], [], ended=120)
    assert (one.failed, two.failed, one.end, two.end) == (1, 1, 120, 120)


def test_labels_of_a_moment_say_what_is_in_place_and_what_still_aches() -> None:
    one = entry("stop-worker", 100, 1, healed=106, whole=109)
    one.served = 104
    assert at_once([one], 99.9) == at_once([one], 106.5) == []
    assert at_once([one], 105) == ["stop-worker"]
    assert troubled_at([one], 108) == ["stop-worker"]
    assert troubled_at([one], 109.5) == []


def test_promises_are_about_one_fault_at_a_time() -> None:
    promises = {name: fault.promise for name, fault in FAULTS.items()}
    alone = entry("kill-primary", 50, 1, healed=50, whole=52)
    with_worker = [entry("kill-primary", 100, 2, whole=103), entry("kill-worker", 101, 2, whole=103)]
    both_nodes = [entry("kill-primary", 200, 3, whole=203), entry("kill-standby", 201, 3, whole=203)]
    found = [
        (one.promise.failed, one.promise.wait_s_max)
        for one in episodes([alone, *with_worker, *both_nodes], promises)
    ]
    assert found == [
        ("none", 1.0),
        ("none", None),
        ("none", None),
        ("not covered", None),
        ("not covered", None),
    ]


def test_a_fault_is_by_itself_when_no_other_was_in_place_and_the_shop_was_whole_before() -> None:
    first = entry("kill-worker", 100.0, 1, healed=100.0, whole=103.0, end=105.0)
    after = entry("kill-gateway", 105.0, 2, healed=105.0, whole=106.0, end=110.0)
    storm = entry("kill-worker", 110.0, 3, healed=110.0, whole=114.0, end=111.0)
    too_soon = entry("kill-primary", 111.0, 4, healed=111.0, whole=114.0, end=120.0)
    assert [by_itself(one, [first, after, storm, too_soon]) for one in (first, after, storm, too_soon)] == [
        True, True, True, False,
    ]  # fmt: skip
    pair = [
        entry("stop-worker", 100.0, 5, healed=104.0, end=105.0),
        entry("slow-disk", 101.0, 5, healed=104.0, end=105.0),
    ]
    assert not any(by_itself(one, pair) for one in pair)
