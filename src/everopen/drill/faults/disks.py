"""What disk a shop lies on, and a small one of its own for scratch shops."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from everopen.base.errors import EveropenError
from everopen.drill.ground import Ground

OWN_BYTES_MAX = 8 * 2**30


class Disk(msgspec.Struct, frozen=True):
    """The file system that a folder lies on."""

    folder: str
    total_bytes: int
    free_bytes: int
    own: bool
    """Small, and begins at or below the drill's own folder or the home: nobody else's files are on it."""


def disk_of(ground: Ground) -> Disk:
    """The disk of the nodes."""
    folder = ground.home.nodes.resolve()
    usage = shutil.disk_usage(folder)
    mount = folder
    while not os.path.ismount(mount):
        mount = mount.parent
    near = ground.home.root.resolve()
    own = ground.scratch and usage.total <= OWN_BYTES_MAX and (mount == near or near in mount.parents)
    return Disk(str(folder), usage.total, usage.free, own)


def device_of(folder: Path) -> str | None:
    """`MAJOR:MINOR` of the whole disk under a folder; None when no block device is (tmpfs, overlay)."""
    number = os.stat(folder).st_dev
    if os.major(number) == 0:
        return None
    entry = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not entry.exists():
        return None
    if (entry / "partition").exists():
        return (entry.resolve().parent / "dev").read_text().strip()
    return f"{os.major(number)}:{os.minor(number)}"


@contextlib.contextmanager
def small_disk(at: Path, size_mb: int) -> Iterator[str]:
    """A file system of its own at an empty folder, for a scratch shop's home: ext4 in a file where a loop device can be
    had, else in memory. Yields which. Raises EveropenError when none can be mounted (it needs root)."""
    at.mkdir(mode=0o755, parents=True, exist_ok=True)
    image = at.parent / f"{at.name}.img"
    kind = _mount_image(at, image, size_mb) or _mount_memory(at, size_mb)
    if kind is None:
        image.unlink(missing_ok=True)
        raise EveropenError("No file system can be mounted here.", "It needs root and the right to mount.")
    at.chmod(0o755)
    try:
        yield kind
    finally:
        if subprocess.run(["umount", str(at)], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", str(at)], capture_output=True, check=False)
        image.unlink(missing_ok=True)


def _mount_image(at: Path, image: Path, size_mb: int) -> str | None:
    if shutil.which("mkfs.ext4") is None:
        return None
    with open(image, "wb") as handle:
        handle.truncate(size_mb * 2**20)
    for command in (
        ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(at)],
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
    shutil.rmtree(at / "lost+found", ignore_errors=True)
    return "ext4 in a file"


def _mount_memory(at: Path, size_mb: int) -> str | None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=755", "none", str(at)]
    return None if subprocess.run(command, capture_output=True, check=False).returncode else "tmpfs in memory"
