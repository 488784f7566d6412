"""Limits of other processes, and the squeeze, on a process of our own."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everopen.base import process
from everopen.base.process import Identity
from everopen.drill.faults import squeeze
from everopen.drill.faults.disks import device_of
from everopen.drill.faults.limits import limits_of, set_limits
from everopen.drill.faults.squeeze import Squeeze


@pytest.fixture
def victim() -> Iterator[Identity]:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = process.identify(child.pid)
        assert identity is not None
        yield identity
        child.kill()


def test_limits_are_read_changed_and_put_back(victim: Identity) -> None:
    before = limits_of(victim.pid, resource.RLIMIT_NOFILE)
    assert set_limits(victim, resource.RLIMIT_NOFILE, (50, before[1]))
    assert limits_of(victim.pid, resource.RLIMIT_NOFILE) == (50, before[1])
    assert set_limits(victim, resource.RLIMIT_NOFILE, before)
    assert limits_of(victim.pid, resource.RLIMIT_NOFILE) == before


def test_a_process_that_ended_is_no_error() -> None:
    assert not set_limits(Identity(2**22 + 1, 1), resource.RLIMIT_NOFILE, (50, 50))


def test_a_squeeze_ends_at_the_present_use(victim: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squeeze, "STEP_S", 0.0)
    squeezing = Squeeze(victim, resource.RLIMIT_NOFILE, squeeze.descriptors, room=20, least=0)
    squeezing.start()
    squeezing.join(5)
    assert limits_of(victim.pid, resource.RLIMIT_NOFILE)[0] == squeeze.descriptors(victim.pid)
    squeezing.stop()
    assert set_limits(victim, resource.RLIMIT_NOFILE, squeezing.before)


def test_memory_has_no_device() -> None:
    assert device_of(Path("/proc")) is None
