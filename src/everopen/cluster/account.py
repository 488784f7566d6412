"""The unprivileged account. PostgreSQL refuses to run as root, and the processes that read requests should not
run as root either; so when we are root they run as `everopen`, which may not even be able to enter the folder the
shop was started in. Whether it can is checked here, by looking at every folder on the way."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import msgspec

from everopen.base.errors import StartError

DEFAULT_NAME = "everopen"


class Account(msgspec.Struct, frozen=True):
    """Who the nodes run as; `switch` is false when we are not root and everything runs as ourselves."""

    name: str
    uid: int
    gid: int
    switch: bool

    def popen_user(self) -> tuple[int, int] | None:
        """For `process.spawn(user=…)`."""
        return (self.uid, self.gid) if self.switch else None

    def own(self, *paths: Path) -> None:
        """Hands files or folders over to the account."""
        if self.switch:
            for path in paths:
                os.chown(path, self.uid, self.gid)

    def drop(self) -> None:
        """Makes the calling process this account for good; does nothing when it already is."""
        if self.switch:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)


def service_account(wanted: str = "") -> Account:
    """The account by setting, else `everopen` (made when it is missing), else `nobody`.

    Raises StartError when a named account does not exist."""
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        return Account(own.pw_name, own.pw_uid, own.pw_gid, switch=False)
    for name in (wanted,) if wanted else (DEFAULT_NAME, None, "nobody"):
        if name is None:
            _make(DEFAULT_NAME)
            name = DEFAULT_NAME
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_name, found.pw_uid, found.pw_gid, switch=True)
    raise StartError(
        f"There is no account {wanted or DEFAULT_NAME!r} to run PostgreSQL as (it refuses to run as root).",
        "Create it (useradd --system everopen) or name another one with cluster.run_as_user.",
    )


def _make(name: str) -> None:
    """A system account without home or shell, as Debian's postgresql package makes one; no harm when it fails."""
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd:
        subprocess.run(
            [
                useradd,
                "--system",
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
                name,
            ],
            capture_output=True,
            check=False,
        )


def reachable(path: Path, account: Account) -> bool:
    """Whether the account may enter every folder down to `path` and read it."""
    if not account.switch:
        return os.access(path, os.R_OK)
    groups = {account.gid, *(group.gr_gid for group in grp.getgrall() if account.name in group.gr_mem)}
    real = Path(os.path.realpath(path))
    for step in (real, *real.parents):
        found = os.stat(step)
        needed = 0o5 if step == real else 0o1
        shift = 6 if found.st_uid == account.uid else 3 if found.st_gid in groups else 0
        if (found.st_mode >> shift) & needed != needed:
            return False
    return True
