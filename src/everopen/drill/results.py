"""Results of drills on disk: one folder each under HOME/drills, named by time, plan and seed."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import msgspec

from everopen.base.errors import EveropenError, InputError
from everopen.drill.page import render
from everopen.drill.report import Report

KEPT = 50


def new_folder(drills: Path, plan: str, seed: int, now: datetime) -> Path:
    """A fresh folder for a run."""
    name = f"{now:%Y%m%d-%H%M%S}-{plan}-{seed}"
    folder = drills / name
    number = 1
    while folder.exists():
        number += 1
        folder = drills / f"{name}.{number}"
    folder.mkdir(parents=True)
    return folder


def save(report: Report, folder: Path, *, keep_operations: bool, kept: int = KEPT) -> None:
    """Writes report.json and report.html. The clients' full ledger is kept only on wish or when a checker failed: it is
    large, and with it the evidence can be judged again."""
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    (folder / "report.html").write_text(render(report))
    if report.ok and not keep_operations:
        (folder / "operations.jsonl").unlink(missing_ok=True)
    for old in runs(folder.parent)[:-kept]:
        shutil.rmtree(old, ignore_errors=True)


def runs(drills: Path) -> list[Path]:
    """Folders with a report, oldest first."""
    if not drills.is_dir():
        return []
    return sorted(path for path in drills.iterdir() if (path / "report.json").exists())


def load(drills: Path, name: str | None) -> tuple[Report, Path]:
    """A kept report by its folder's name (or a part of it), by default the latest. Raises EveropenError."""
    found = [path for path in runs(drills) if name is None or name in path.name]
    if not found:
        raise InputError(
            "No drill was run here." if name is None else f"No drill here is called {name!r}.",
            "`everopen drill run` runs one; `everopen drill report --all` lists what there is.",
        )
    path = found[-1]
    try:
        return msgspec.json.decode((path / "report.json").read_bytes(), type=Report), path
    except (OSError, msgspec.DecodeError) as problem:
        raise EveropenError(f"{path} can't be read: {problem}.") from None
