"""What a round of deliveries sends and what its outcomes mean, as tables."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from everopen.trading.events.facts import Row
from everopen.trading.events.rounds import Tray, judge, lines, rest_s, retry_pause_s
from everopen.trading.events.sender import Sent
from everopen.trading.events.settings import EventsSettings

SETTINGS = EventsSettings(attempts_max=3, retry_first_s=1.0, retry_max_s=10.0, rest_max_s=5.0)
GOOD, BAD = Sent(True), Sent(False, "It answered 500.")
A, B, C = (UUID(int=number) for number in (1, 2, 3))


def row(seq: int, stream: UUID) -> Row:
    return Row(seq, "order.placed", stream, stream, None, datetime(2026, 1, 1, tzinfo=UTC))


def test_events_of_one_order_go_one_after_the_other_and_stand_behind_a_held_one() -> None:
    tray = Tray([(row(1, A), 2)], [row(5, B), row(6, A), row(7, B), row(8, C)], {A})
    going, behind = lines(tray)
    assert [[event.seq for event in line] for line in going] == [[1], [5, 7], [8]]
    assert [event.seq for event in behind] == [6]


@pytest.mark.parametrize(
    ("outcomes", "through", "held", "failures"),
    [
        ({1: GOOD, 5: GOOD, 7: GOOD}, [1], [(6, 0, False)], 0),
        ({1: BAD, 5: GOOD, 7: GOOD}, [], [(1, 3, True), (6, 0, False)], 0),
        ({1: GOOD, 5: BAD}, [1], [(5, 1, False), (6, 0, False), (7, 0, False)], 0),
        ({1: BAD, 5: BAD}, [], [(1, 3, True), (5, 1, False), (6, 0, False), (7, 0, False)], 4),
    ],
)
def test_what_outcomes_mean(
    outcomes: dict[int, Sent], through: list[int], held: list[tuple[int, int, bool]], failures: int
) -> None:
    tray = Tray([(row(1, A), 2)], [row(5, B), row(6, A), row(7, B)], {A})
    verdict = judge(tray, outcomes, 2, SETTINGS, 0.5)
    assert verdict.through == through
    assert [(one.seq, one.attempts, one.dead) for one in verdict.held] == held
    assert verdict.failures == failures


def test_every_event_of_a_round_is_through_or_held_or_gone_well() -> None:
    tray = Tray([(row(1, A), 0)], [row(number, UUID(int=number % 4)) for number in range(2, 40)], {A})
    for failing in range(1, 40):
        outcomes: dict[int, Sent] = {}
        for line in lines(tray)[0]:
            for event in line:
                outcomes[event.seq] = BAD if event.seq == failing else GOOD
                if event.seq == failing:
                    break
        verdict = judge(tray, outcomes, 0, SETTINGS, 0.5)
        well = {seq for seq, sent in outcomes.items() if sent.ok}
        assert well | {one.seq for one in verdict.held} == set(range(1, 40))
        assert well & {one.seq for one in verdict.held} == set()


def test_pauses_double_are_bounded_and_spread() -> None:
    assert [retry_pause_s(count, SETTINGS, 0.5) for count in (1, 2, 3, 4, 9)] == [1, 2, 4, 8, 10]
    assert (retry_pause_s(1, SETTINGS, 0.0), retry_pause_s(1, SETTINGS, 1.0)) == (0.75, 1.25)
    assert [rest_s(count, SETTINGS, 0.5) for count in (0, 2, 3, 4, 50)] == [0, 0, 1, 2, 5]
