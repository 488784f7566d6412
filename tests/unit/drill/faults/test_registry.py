"""Every file of a fault is registered, and what is registered keeps to the rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import everopen.drill.faults
from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.faults import FAULTS, Injected, Promise
from everopen.drill.faults.everything import Everything
from everopen.drill.ground import Ground

TOOLS = {"__init__", "fault", "victims", "cgroups", "disks", "held", "limits", "squeeze"}


def test_every_file_has_a_fault_in_the_registry() -> None:
    files = {path.stem for path in Path(everopen.drill.faults.__file__).parent.glob("*.py")} - TOOLS
    assert files == {type(fault).__module__.rpartition(".")[2] for fault in FAULTS.values()}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_is_registered_under_its_own_name_and_says_what_it_does(name: str) -> None:
    fault = FAULTS[name]
    assert fault.name == name
    assert fault.description.endswith(".")
    assert 0 <= fault.hold_s <= 60
    assert fault.promise.failed == "not covered" or fault.promise.whole_s_max is not None


def test_crashes_and_hangs_are_held_to_the_design() -> None:
    for role in ("worker", "primary"):
        kill, stop = FAULTS[f"kill-{role}"].promise, FAULTS[f"stop-{role}"].promise
        assert (kill.failed, kill.wait_s_max) == ("none", 1.0)
        assert (stop.failed, stop.wait_s_max) == ("none", 3.0)
    assert FAULTS["kill-gateway"].promise.failed == "own connections"
    assert FAULTS["kill-supervisor"].promise.failed == "none"


NOTHING = Promise("none")


@dataclasses.dataclass
class Part:
    """A fault that only notes what is done to it."""

    name: str
    notes: list[str]
    broken: str = ""
    lacking: str | None = None
    description: str = "Nothing."
    promise: Promise = NOTHING
    hold_s: float = 0.0

    def missing(self, ground: Ground) -> str | None:
        return self.lacking

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        if self.broken == "inject":
            raise EveropenError("not now")
        self.notes.append(f"+{self.name}")
        return Injected(self.name, (1,), {"of": self.name})

    def heal(self, ground: Ground, injected: Injected) -> None:
        self.notes.append(f"-{injected.data['of']}")
        if self.broken == "heal":
            raise EveropenError("can't")


def a_ground(folder: Path) -> Ground:
    return Ground(environment={"EVEROPEN_HOME": str(folder / "home")}, folder=folder, scratch=True)


def test_everything_heals_the_last_first_and_names_what_was_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    parts = [
        Part("a", notes),
        Part("b", notes, lacking="no disk"),
        Part("c", notes, broken="inject"),
        Part("d", notes),
    ]
    fault, ground = Everything(parts), a_ground(tmp_path)
    assert fault.missing(ground) is None
    injected = fault.inject(ground, Rng(1))
    assert injected.what == "a; not b (no disk); not c (not now); d"
    fault.heal(ground, injected)
    assert notes == ["+a", "+d", "-d", "-a"]


def test_everything_heals_the_others_when_one_cannot_be(tmp_path: Path) -> None:
    notes: list[str] = []
    fault, ground = Everything([Part("a", notes), Part("b", notes, broken="heal")]), a_ground(tmp_path)
    injected = fault.inject(ground, Rng(1))
    with pytest.raises(EveropenError):
        fault.heal(ground, injected)
    assert notes == ["+a", "+b", "-b", "-a"]


def test_everything_needs_at_least_two(tmp_path: Path) -> None:
    fault = Everything([Part("a", []), Part("b", [], lacking="no disk")])
    assert "two" in (fault.missing(a_ground(tmp_path)) or "")
