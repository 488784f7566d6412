"""A gateway with backends, all real processes, for tests: started in a scratch folder, ended by pid."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from everopen.base.topology import Endpoint, Topology, WorkerView, publish

HERE = Path(__file__).parent


class Shop:
    """`gateway()` and `backend()` start processes; `publish()` tells the gateways of backends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.topology = folder / "topology.json"
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listening.getsockname()[1]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.views: dict[str, WorkerView] = {}
        self._version = 0

    def gateway(self, name: str = "gateway-1", **settings: Any) -> subprocess.Popen[bytes]:
        descriptor = self.listening.fileno()
        command = [sys.executable, str(HERE / "gateway_process.py"), str(self.folder), name]
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [*command, str(descriptor), json.dumps(settings)], pass_fds=(descriptor,), stderr=log
            )
        self.processes[name] = process
        wait_until(lambda: self.stats(name) is not None)
        return process

    def backend(self, name: str, *, publish: bool = True, weight: float = 1.0, socket_name: str = "") -> None:
        path = self.folder / f"{socket_name or name}.sock"
        self.processes[name] = subprocess.Popen([sys.executable, str(HERE / "backend.py"), str(path), name])
        wait_until(lambda: answers(path))
        self.views[name] = WorkerView(name=name, endpoint=Endpoint(path=str(path)), weight=weight)
        if publish:
            self.publish()

    def publish(self) -> None:
        self._version += 1
        publish(self.topology, Topology(epoch=1, version=self._version, workers=tuple(self.views.values())))
        for name in [name for name in self.processes if name.startswith("gateway")]:
            if self.processes[name].poll() is None:
                wait_until(lambda name=name: (self.stats(name) or {}).get("backends") == len(self.views))

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def stats(self, name: str = "gateway-1") -> dict[str, float] | None:
        """The counters of a gateway; None while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(5)
                door.connect(str(self.folder / f"{name}.admin"))
                door.sendall(b"GET /stats HTTP/1.1\r\nHost: admin\r\n\r\n")
                answer = b""
                while piece := door.recv(65536):
                    answer += piece
        except OSError:
            return None
        return json.loads(answer.partition(b"\r\n\r\n")[2]) if answer else None

    def raw(self, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        """Sends bytes on a new connection and returns all that comes back until the gateway closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as client:
            client.sendall(data)
            return drain(client)

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.listening.close()


def drain(client: socket.socket) -> bytes:
    """All bytes until the other side closes."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            answer += piece
    return answer


def bad(line: str) -> bool:
    """A line of a gateway's log that no test should cause."""
    return line.startswith(("ERROR", "Traceback", "LAZY"))


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until(true: Any, timeout_s: float = 20.0) -> None:
    """Waits for a condition; fails when it never comes."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "the awaited condition never came"
        time.sleep(0.005)


@contextlib.contextmanager
def open_shop() -> Iterator[Shop]:
    """A shop in a scratch folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="eo-gw-"))
    shop = Shop(folder)
    try:
        yield shop
        complaints = [
            line for log in folder.glob("*.log") for line in log.read_text().splitlines() if bad(line)
        ]
        assert not complaints, complaints
    finally:
        shop.close()
        shutil.rmtree(folder)


class Connection:
    """A keep-alive HTTP client on asyncio streams, strict about what it gets."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Connection:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def ask(
        self, target: str, method: str = "GET", body: bytes = b"", headers: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
        self.writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: shop\r\n{headers}{length}\r\n".encode() + body
        )
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        status, body = int(head[0].split(" ")[1]), b""
        if method == "HEAD" or status in (100, 204, 304):
            return status, fields, b""
        if fields.get("transfer-encoding") == "chunked":
            while size := int((await self.reader.readline()).strip(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            assert await self.reader.readline() == b"\r\n"
        else:
            body = await self.reader.readexactly(int(fields["content-length"]))
        return status, fields, body
