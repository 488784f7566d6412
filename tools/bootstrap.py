"""Makes the virtual environment that `make` runs in; needs only Python's standard library and pip.

The environment is complete when its stamp equals the hash of what went into it (lock file, pyproject, Python
version); anything else, also a set-up that was interrupted, is finished on the next call. A lock on the folder
keeps two calls from working at once. With nothing to do it takes a few milliseconds and no network.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def fail(cause: str, next_step: str) -> None:
    """Says what went wrong and what to do, and ends with status 1."""
    print(f"set-up: {cause}\n        {next_step}", file=sys.stderr)
    raise SystemExit(1)


def fingerprint(lock: Path, venv: Path) -> str:
    """What the environment is made from; a change of any part makes it stale."""
    parts = [
        lock.read_bytes(),
        (ROOT / "pyproject.toml").read_bytes(),
        sys.version.encode(),
        str(venv).encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@contextlib.contextmanager
def one_at_a_time(venv: Path) -> Iterator[None]:
    """Holds a file lock beside the environment; a second set-up waits for the first."""
    with open(f"{venv}.lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("set-up: another set-up is under way here, waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(step: str, command: list[str]) -> None:
    """Runs one step, shows how long it took, and on failure the end of its output."""
    print(f"set-up: {step} …", end="", flush=True)
    begin = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(" failed", flush=True)
        print("\n".join((done.stdout + done.stderr).strip().splitlines()[-8:]), file=sys.stderr)
        fail(
            f"{step} failed",
            "Is the package index reachable and is there room on the disk? Then run the same command again.",
        )
    print(f" {time.monotonic() - begin:.1f} s", flush=True)


def make(venv: Path, lock: Path) -> None:
    """Builds the environment from nothing, or finishes one that was left half-made."""
    python = venv / "bin" / "python"
    if shutil.disk_usage(ROOT).free < 500 * 1024**2:
        fail("less than 500 MB free on this disk", "Free some room, then run the same command again.")
    pip = [str(python), "-m", "pip"]
    if (
        subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode
        if python.exists()
        else True
    ):
        shutil.rmtree(venv, ignore_errors=True)
        with_pip = (
            subprocess.run(
                [sys.executable, "-c", "import ensurepip"], capture_output=True, check=False
            ).returncode
            == 0
        )
        run(
            "virtual environment",
            [sys.executable, "-m", "venv", *([] if with_pip else ["--without-pip"]), str(venv)],
        )
        if not with_pip:  # Debian without python3-venv: the system's pip can install into another environment
            run("pip", [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"])
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    run(
        f"installing {sum(1 for line in lock.read_text().splitlines() if '==' in line)} pinned packages",
        [*pip, "install", *quiet, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)],
    )
    # The project itself, without a build tool: its source folder on the path and the command beside python.
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    (Path(site.stdout.strip()) / "everopen.pth").write_text(f"{ROOT / 'src'}\n")
    command = venv / "bin" / "everopen"
    command.write_text(f"#!{python}\nimport sys\nfrom everopen.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    run("compiling", [str(python), "-m", "compileall", "-q", str(ROOT / "src")])


def main() -> None:
    """Command line: `bootstrap.py VENV LOCK`."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file runs on whatever python3 is)
        fail(
            f"Python {sys.version.split()[0]} is too old",
            "Everopen needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …",
        )
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("venv", type=Path)
    parser.add_argument("lock", type=Path)
    arguments = parser.parse_args()
    venv = Path(os.path.abspath(arguments.venv))
    stamp = venv / "everopen.stamp"
    wanted = fingerprint(arguments.lock, venv)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with one_at_a_time(venv):
        if stamp.exists() and stamp.read_text() == wanted:
            return
        stamp.unlink(missing_ok=True)
        make(venv, arguments.lock)
        stamp.write_text(wanted)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nset-up: interrupted; the next run finishes it", file=sys.stderr)
        raise SystemExit(130) from None
