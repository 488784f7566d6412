"""A process that takes the place of a Unix socket and misbehaves like a network.

`python -m everopen.drill.interpose '{"path": …}'`: binds a socket of its own, puts it in place of `path` in one step (a
rename, so nobody ever finds nothing there), and relays every connection to the real one. Only connections of the wanted
role are hurt: the kernel says who connects (SO_PEERCRED), so a supervisor's probe passes while a gateway's request is held.

It is a process of its own and not a thread, so that nothing stays broken when the drill is killed: it puts the real socket
back when its standard input ends, when it is told to end, or when its time is over. Network namespaces with netem were
turned down: the shop's processes talk over Unix sockets, which no packet scheduler sees.

Commands come as JSON lines (`{"way": "delay", "delay_s": 0.1}`), each is answered with one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import msgspec

from everopen.base.clock import Rng
from everopen.drill import interpose_http

CHUNK = 65536
UNIX_PEER = struct.Struct("3i")


class Place(msgspec.Struct, frozen=True):
    """Where to stand and whom to hurt."""

    path: str
    """The socket (or the link to one) whose place is taken."""
    registry: str
    """The shop's file of processes."""
    role: str
    """Connections of these processes are hurt; all others pass."""
    seed: int = 1
    seconds_max: float = 120.0


class Way(msgspec.Struct, frozen=True):
    """How it misbehaves now."""

    way: str = "pass"
    """pass; delay: each piece waits `delay_s`, more or less; stall: nothing passes for `stall_s` of every `period_s`, then
    all of it comes (lost packets, sent again); partition: nothing passes and nobody is told; reset: each connection is cut
    after some `reset_s`; down: each connection is closed at once. For HTTP also broken, lost, twice, slow (`interpose_http`)."""
    delay_s: float = 0.1
    stall_s: float = 0.4
    period_s: float = 0.6
    reset_s: float = 0.2


class Interposer:
    """The relay. `run` returns once the real socket is back in its place."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rng = Rng(place.seed)
        self._way = Way()
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._hurt: set[asyncio.Task[None]] = set()
        self._others: set[asyncio.Task[None]] = set()
        self._counts = {"hurt": 0, "passed": 0, "open": 0}
        folder, name = os.path.split(place.path)
        self._hidden = os.path.join(folder, f".{name[:20]}.{os.getpid()}")
        self._own: tuple[int, int] = (0, 0)

    async def run(self) -> None:
        """Takes the place, serves, gives it back."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._ended.set)
        listening = self._take_place()
        try:
            server = await asyncio.start_unix_server(self._accepted, sock=listening)
            say({"ready": True})
            commands = asyncio.create_task(self._commands())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._place.seconds_max)
            commands.cancel()
            server.close()
        finally:
            self._give_back()
        for task in self._hurt | self._others:
            task.cancel()
        await asyncio.gather(*self._hurt, *self._others, return_exceptions=True)

    # -- the place -----------------------------------------------------------------------------------------------

    def _take_place(self) -> socket.socket:
        path, temporary = self._place.path, self._hidden + "i"
        real = os.stat(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(temporary)
        os.chmod(temporary, real.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(temporary, real.st_uid, real.st_gid)
        listening.listen(1024)
        found = os.lstat(temporary)
        self._own = (found.st_dev, found.st_ino)
        os.link(path, self._hidden, follow_symlinks=False)
        os.rename(temporary, path)
        return listening

    def _give_back(self) -> None:
        """Only when nobody else has taken the place since (a restarted process binds it anew)."""
        try:
            found = os.lstat(self._place.path)
            if (found.st_dev, found.st_ino) == self._own:
                os.rename(self._hidden, self._place.path)
        except OSError:
            pass
        Path(self._hidden).unlink(missing_ok=True)

    # -- commands ------------------------------------------------------------------------------------------------

    async def _commands(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            wanted = json.loads(line)
            if wanted:
                self._way = msgspec.convert(wanted, Way)
                self._changed.set()
                self._changed = asyncio.Event()
            say(self._counts)
        self._ended.set()

    # -- connections ---------------------------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        hurt = self._wanted(writer.get_extra_info("socket"))
        tasks = self._hurt if hurt else self._others
        tasks.add(task)
        self._counts["hurt" if hurt else "passed"] += 1
        self._counts["open"] += hurt
        try:
            await self._serve(reader, writer, hurt)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            pass  # whoever ended it, both ends are told below
        finally:
            tasks.discard(task)
            self._counts["open"] -= hurt
            writer.transport.abort()

    def _wanted(self, connection: Any) -> bool:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UNIX_PEER.size)
        return belongs(UNIX_PEER.unpack(raw)[0], pids_of(self._place.registry, self._place.role))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hurt: bool) -> None:
        if hurt and self._way.way == "down":
            return
        if hurt and self._way.way == "broken":
            await interpose_http.broken(reader, writer)
            return
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._hidden)
        try:
            if hurt and self._way.way in interpose_http.WAYS:
                await interpose_http.relay(
                    self._way.way, self._way.delay_s, reader, writer, upstream_reader, upstream_writer
                )
                return
            pumps = {
                asyncio.create_task(self._pump(reader, upstream_writer, hurt)),
                asyncio.create_task(self._pump(upstream_reader, writer, hurt)),
            }
            if hurt:
                pumps.add(asyncio.create_task(self._cut_some_time()))
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            upstream_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hurt: bool) -> None:
        while data := await reader.read(CHUNK):
            if hurt:
                await self._hold()
            writer.write(data)
            await writer.drain()
        if hurt:
            await self._hold()  # a partition doesn't tell of an end either

    async def _hold(self) -> None:
        """Waits as long as the present way holds a piece back."""
        while True:
            way, changed = self._way, self._changed
            match way.way:
                case "delay":
                    await asyncio.sleep(way.delay_s * (0.75 + 0.5 * self._rng.random()))
                    return
                case "stall":
                    into = asyncio.get_running_loop().time() % way.period_s
                    if into < way.stall_s:
                        await asyncio.sleep(way.stall_s - into)
                    return
                case "partition":
                    await changed.wait()
                case _:
                    return

    async def _cut_some_time(self) -> None:
        """Ends, and with it the connection, when the way is reset or down."""
        while True:
            way, changed = self._way, self._changed
            if way.way == "down":
                return
            if way.way == "reset":
                await asyncio.sleep(self._rng.expovariate(1 / way.reset_s))
                if self._way.way == "reset":
                    return
                continue
            await changed.wait()


def pids_of(registry: str, role: str) -> set[int]:
    """The pids of a role as the supervisor wrote them down last."""
    try:
        return {
            each["pid"]
            for each in json.loads(Path(registry).read_bytes())["processes"]
            if each["role"] == role
        }
    except (OSError, ValueError, KeyError):
        return set()


def belongs(pid: int, pids: set[int]) -> bool:
    """Whether a process is one of these, or a child of one (a standby's receiver is its postmaster's child)."""
    if pid in pids:
        return True
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return int(text[text.rindex(")") + 2 :].split()[1]) in pids


def say(what: dict[str, Any]) -> None:
    """One line to whoever started us."""
    with contextlib.suppress(OSError):
        print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(Interposer(msgspec.json.decode(sys.argv[1], type=Place)).run())
