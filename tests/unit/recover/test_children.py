"""Restart pauses of processes that keep ending."""

from everopen.recover.children import restart_pause_s


def test_first_ends_restart_at_once() -> None:
    assert [restart_pause_s([100.0] * count, 101.0, 5.0) for count in (1, 2, 3)] == [0.0, 0.0, 0.0]


def test_a_process_that_keeps_ending_waits_longer_each_time_up_to_the_limit() -> None:
    pauses = [restart_pause_s([100.0] * count, 101.0, 5.0) for count in range(4, 12)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.1
    assert pauses[-1] == 5.0


def test_old_ends_are_forgotten() -> None:
    assert restart_pause_s([10.0] * 20, 101.0, 5.0) == 0.0
