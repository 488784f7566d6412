"""When scheduled drills run."""

from __future__ import annotations

from datetime import datetime

import pytest

from everopen.base.errors import ConfigError
from everopen.drill.schedule import command_of, next_run
from everopen.drill.settings import DrillSettings

NOW = datetime(2026, 3, 4, 12, 0)  # a Wednesday


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("off", None),
        ("daily 13:30", datetime(2026, 3, 4, 13, 30)),
        ("daily 03:30", datetime(2026, 3, 5, 3, 30)),
        ("daily 12:00", datetime(2026, 3, 5, 12, 0)),
        ("weekly wed 11:00", datetime(2026, 3, 11, 11, 0)),
        ("Weekly SUN 3:05", datetime(2026, 3, 8, 3, 5)),
        ("every 6h", datetime(2026, 3, 4, 18, 0)),
    ],
)
def test_a_schedule_says_when_the_next_drill_is(schedule: str, due: datetime | None) -> None:
    assert next_run(schedule, NOW, None) == due


def test_every_so_many_hours_counts_from_the_last_one_and_is_never_in_the_past() -> None:
    assert next_run("every 6h", NOW, datetime(2026, 3, 4, 10, 0)) == datetime(2026, 3, 4, 16, 0)
    assert next_run("every 6h", NOW, datetime(2026, 3, 1)) == NOW


@pytest.mark.parametrize("wrong", ["now", "daily", "daily 25:00", "weekly 03:00", "every 0h", "every day"])
def test_a_schedule_that_says_no_time_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="says no time"):
        next_run(wrong, NOW, None)


def test_a_scheduled_drill_is_the_command_that_a_person_would_type() -> None:
    assert command_of(DrillSettings(plan="soak"))[3:] == [
        "drill",
        "run",
        "--plan",
        "soak",
        "--seed",
        "0",
        "--scratch",
    ]
    assert "--scratch" not in command_of(DrillSettings(scratch=False))
