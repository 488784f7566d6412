"""Places on disk: what lies where under `EVEROPEN_HOME`, and the short runtime folder for sockets.

Unix socket paths end at some 100 bytes, and a home may lie under a folder that unprivileged processes can't enter
(`/root`), so sockets and the topology live in a short folder of their own, derived from the home's path.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from everopen.base.errors import StartError


class Home:
    """The folders and files of one shop. Building the object touches nothing on disk."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(os.path.abspath(root))
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        if os.geteuid() == 0:
            base = Path("/run") if os.access("/run", os.W_OK) else Path(tempfile.gettempdir())
            self.run = base / "everopen" / digest
            self.shared_root = Path("/var/lib/everopen")
        else:
            user_run = os.environ.get("XDG_RUNTIME_DIR", "")
            base = (
                Path(user_run)
                if user_run and os.access(user_run, os.W_OK)
                else Path(tempfile.gettempdir()) / f"everopen-{os.geteuid()}"
            )
            self.run = base / (f"everopen-{digest}" if user_run and base == Path(user_run) else digest)
            self.shared_root = self.root
        self.digest = digest
        self.logs = self.root / "log"
        self.nodes = self.root / "nodes"
        self.secrets_file = self.root / "secrets.json"
        self.state_file = self.root / "state.json"
        """Durable facts of the supervisor: epoch, leader, who is synchronous."""
        self.processes_file = self.run / "processes.json"
        """Living children: pid, start time, role; lets a new supervisor adopt them."""
        self.lock_file = self.root / "lock"
        self.version_file = self.root / "version.json"
        self.events_file = self.logs / "events.jsonl"
        self.topology_file = self.run / "topology.json"
        self.payments_books = self.root / "payments" / "books.sqlite"

    def create(self) -> None:
        """Makes the folders; safe to repeat. The runtime folder must be ours and nobody else's to write."""
        for folder in (self.root, self.logs, self.nodes, self.payments_books.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.run.parent.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        self.run.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, exist_ok=True)
        for folder in (self.run.parent, self.run):
            found = os.lstat(folder)
            owners = (os.geteuid(),) if folder == self.run else (os.geteuid(), 0)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
                raise StartError(
                    f"The runtime folder {folder} belongs to somebody else.",
                    "Remove it or set XDG_RUNTIME_DIR to a folder of your own.",
                )


def home_from_environment() -> Home:
    """`EVEROPEN_HOME`, by default `./var`."""
    return Home(os.environ.get("EVEROPEN_HOME") or "var")
