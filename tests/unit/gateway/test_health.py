from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest

from everopen.gateway.health import TRANSITIONS, Event, State, eligible, probe_delay_s


@dataclass(eq=False)
class View:
    state: State
    draining: bool = False


def view(letter: str) -> View:
    return View(
        {"h": "healthy", "s": "suspect", "r": "refusing", "d": "healthy"}[letter], draining=letter == "d"
    )  # type: ignore[arg-type]


def test_every_event_in_every_state_has_a_line_in_the_table() -> None:
    assert set(TRANSITIONS) == {(state, event) for state in get_args(State) for event in get_args(Event)}


def test_only_an_answer_brings_a_backend_back() -> None:
    for (state, event), transition in TRANSITIONS.items():
        if state != "healthy" and transition.to == "healthy":
            assert event == "answered"
            assert transition.effect == "admit"
        if transition.effect == "eject":
            assert state == "healthy"


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ("", []),
        ("h", [0]),
        ("hh", [0, 1]),
        ("hs", [0]),  # half are healthy: no panic
        ("hr", [0]),
        ("hss", [0, 1, 2]),  # fewer than half: the suspects are used too
        ("hrr", [0]),  # nobody listens there: not even in panic
        ("hsr", [0, 1]),
        ("s", [0]),
        ("sr", [0]),
        ("rr", [0, 1]),  # nothing else is left
        ("dh", [1]),
        ("dd", []),
        ("dds", [2]),
    ],
)
def test_who_is_eligible(given: str, chosen: list[int]) -> None:
    backends = [view(letter) for letter in given]
    assert [backends.index(backend) for backend in eligible(backends)] == chosen


def test_probes_back_off_and_are_bounded_and_spread() -> None:
    delays = [probe_delay_s(failures, 0.05, 2.0, 0.5) for failures in range(10)]
    assert delays[:3] == [0.05, 0.1, 0.2]
    assert delays[-1] == 2.0
    assert probe_delay_s(10_000, 0.05, 2.0, 1.0) == 2.5
    assert probe_delay_s(0, 1.0, 2.0, 0.0) == 0.75
