"""Full disk, and a disk that fills.

full-disk takes the last byte. It runs only where nobody else's files are on that disk: a scratch shop whose home is a small
file system of its own (`disks.small_disk`, as root). disk-filling takes most of what is free, step by step, and leaves a
floor, so it runs anywhere a file can be given room without writing it; the shop works on, and only the trend is the fault.

The filling file has no name: it is unlinked at once, so the room comes back when the drill ends, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading

from everopen.base.clock import Rng
from everopen.base.errors import EveropenError
from everopen.drill.faults.disks import disk_of
from everopen.drill.faults.fault import CRASH, NOT_COVERED, Injected
from everopen.drill.ground import Ground

MIB = 2**20
STEPS, STEP_S = 10, 0.4
_libc = ctypes.CDLL(None, use_errno=True)


class Filler:
    """A file without a name that takes room."""

    def __init__(self, folder: str) -> None:
        self._handle = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # kept open until `close`
        self._size = 0

    def take(self, count: int) -> bool:
        """So many bytes more, without writing them; False when they can't be had (full, or the file system can't)."""
        done = _libc.fallocate(self._handle.fileno(), 0, ctypes.c_int64(self._size), ctypes.c_int64(count))
        if done == 0:
            self._size += count
        return bool(done == 0)

    def take_all(self) -> None:
        """Everything that is free, down to the last block."""
        piece = 64 * MIB
        while piece >= 4096:
            if not self.take(piece):
                piece //= 2
        os.lseek(self._handle.fileno(), self._size, os.SEEK_SET)
        while True:
            try:
                if os.write(self._handle.fileno(), b"\0" * 4096) == 0:
                    return
            except OSError:
                return

    def close(self) -> None:
        """Gives it all back."""
        self._handle.close()


class FullDisk:
    """Not a byte is left on the disk of the nodes, the books and the supervisor's own facts."""

    name = "full-disk"
    description = "The disk under the home is filled to the last byte."
    promise = NOT_COVERED
    hold_s = 4.0

    def __init__(self) -> None:
        self._fillers: dict[int, Filler] = {}

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        disk = disk_of(ground)
        if disk.own:
            return None
        return f"The home shares its disk of {disk.total_bytes / 1e9:.0f} GB with others; it needs a small one of its own (a scratch shop, as root)."

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Fills."""
        disk = disk_of(ground)
        filler = Filler(disk.folder)
        self._fillers[id(filler)] = filler
        filler.take_all()
        left = disk_of(ground).free_bytes
        return Injected(
            f"took {(disk.free_bytes - left) // MIB} MB, {left} bytes are left", data={"filler": id(filler)}
        )

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Gives the room back."""
        filler = self._fillers.pop(injected.data["filler"], None)
        if filler is not None:
            filler.close()


class _Filling(threading.Thread):
    def __init__(self, folder: str, count: int) -> None:
        super().__init__(daemon=True, name="drill-filling")
        self.filler = Filler(folder)
        self._count = count
        self._enough = threading.Event()

    def run(self) -> None:
        for _ in range(STEPS):
            if not self.filler.take(self._count // STEPS) or self._enough.wait(STEP_S):
                return

    def stop(self) -> None:
        self._enough.set()
        self.join(2.0)
        self.filler.close()


class DiskFilling:
    """The free room goes down to a floor."""

    name = "disk-filling"
    description = "Nine tenths of the free room above a floor of 5 % (at least 256 MB) go in ten steps."
    promise = CRASH
    hold_s = STEPS * STEP_S + 2.0

    def __init__(self) -> None:
        self._running: dict[int, _Filling] = {}

    def missing(self, ground: Ground) -> str | None:
        """Why it can't be run here."""
        disk = disk_of(ground)
        if self._count(ground) < 32 * MIB:
            return f"Only {disk.free_bytes // MIB} MB are free on the disk of the home: it is too full to fill it."
        if not ground.scratch and not ground.root:
            return "A running shop's disk is filled by root only."
        trial = Filler(disk.folder)
        try:
            if not trial.take(4096):
                return "The file system of the home can't give room without writing it."
        finally:
            trial.close()
        return None

    def _count(self, ground: Ground) -> int:
        disk = disk_of(ground)
        floor = max(256 * MIB, disk.total_bytes // 20)
        return int((disk.free_bytes - floor) * 0.9)

    def inject(self, ground: Ground, rng: Rng) -> Injected:
        """Begins to fill; it goes on by itself."""
        count = self._count(ground)
        if count <= 0:
            raise EveropenError("The disk is fuller than the floor already.")
        filling = _Filling(disk_of(ground).folder, count)
        self._running[id(filling)] = filling
        filling.start()
        return Injected(f"taking {count // MIB} MB", data={"filling": id(filling), "bytes": count})

    def heal(self, ground: Ground, injected: Injected) -> None:
        """Gives the room back."""
        filling = self._running.pop(injected.data["filling"], None)
        if filling is not None:
            filling.stop()
