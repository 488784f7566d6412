"""Where a Python process spends its time, by part of the program: py-spy samples it from outside while it works.

A sample counts for the innermost Python frame, so time in C (JSON, sockets, the event loop's turning) is charged to
the Python that called it. Shares are of the samples in which the process worked; waiting is left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec


class Share(msgspec.Struct, frozen=True):
    """One part of one process: `share` of its working time, 0 to 1."""

    process: str
    part: str
    share: float


def find_py_spy() -> str | None:
    """The sampler, beside this interpreter or on the path."""
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")


class Sampling:
    """Samples some processes for some seconds, beside whatever else is going on."""

    def __init__(self, py_spy: str, pids: dict[str, int], *, seconds: int, rate_hz: int = 200) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="everopen-profile-"))
        self._runs = {
            name: subprocess.Popen(
                [py_spy, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(rate_hz), "--format", "raw", "--output", str(self._folder / name)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            )
            for name, pid in pids.items()
        }  # fmt: skip

    def shares(self, *, most: int = 8) -> list[Share]:
        """Waits for the samplers; the largest parts of each process. Empty where sampling is not allowed."""
        found: list[Share] = []
        for name, run in self._runs.items():
            run.wait(timeout=60)
            path = self._folder / name
            if path.exists():
                found.extend(
                    Share(name, part, share) for part, share in parts_of(path.read_text(), most=most)
                )
        shutil.rmtree(self._folder, ignore_errors=True)
        return found


def parts_of(folded: str, *, most: int) -> list[tuple[str, float]]:
    """Shares by part from folded stacks (`outer;inner COUNT` a line). Pure."""
    counted: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack and count.isdigit():
            counted[part_of(stack.rsplit(";", 1)[-1])] += int(count)
    total = sum(counted.values()) or 1
    return [(part, count / total) for part, count in counted.most_common(most)]


def part_of(frame: str) -> str:
    """`function (path/to/file.py:12)` as the part of the program that people know."""
    match = re.search(r"\(([^()]*?)(?::\d+)?\)$", frame)
    path = match[1] if match else frame
    if "everopen/" in path:
        return "everopen/" + path.rsplit("everopen/", 1)[1]
    if re.search(r"(?:^|/)asyncio/", path):
        return "event loop: polling and system calls"
    library = re.search(r"site-packages/([\w-]+)", path) or re.match(r"([\w-]+)/", path)
    if library:
        return library[1]
    return "Python's library"
