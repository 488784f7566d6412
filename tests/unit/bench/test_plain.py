"""The yardstick's plan and its reach."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

from everopen.bench.plain import PlainSettings, children_of, plan_of


def test_both_sides_are_killed_at_the_same_seconds() -> None:
    settings = PlainSettings(kills=(("primary", 3), ("worker", 2), ("gateway", 0)), every_s=2.0, seed=4)
    plan = plan_of(settings)
    assert plan == plan_of(settings)
    assert Counter(role for _, role, _ in plan) == {"primary": 3, "worker": 2}
    assert [at for at, _, _ in plan] == [2.0, 4.0, 6.0, 8.0, 10.0]


def test_children_are_found_and_the_dead_have_none() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        assert child.pid in children_of(os.getpid())
        child.kill()
        child.wait()
        assert children_of(child.pid) == []
