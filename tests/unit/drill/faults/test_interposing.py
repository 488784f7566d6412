"""The interposer against a real socket: it takes the place, misbehaves for the wanted only, and gives the place back."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from everopen.base import process
from everopen.drill import interposer
from everopen.drill.interpose import Place

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server(threading.Thread):
    """Answers every request with the same."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.requests = 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536):
                    self.requests += 1
                    connection.sendall(ANSWER)
            except OSError:
                return

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class Scene:
    """A server, its socket, and a registry that says who is to be hurt."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.registry = folder, folder / "it.sock", folder / "processes.json"
        self.hurt(os.getpid())
        self.server = Server(self.path)
        self.server.start()

    def hurt(self, pid: int) -> None:
        self.registry.write_text(json.dumps({"processes": [{"role": "client", "pid": pid}]}))

    def interpose(self, **way: object) -> process.Identity:
        place = Place(str(self.path), str(self.registry), "client", seconds_max=30)
        standing = interposer.start(place, self.folder / "log")
        if way:
            interposer.steer(standing, **way)
        return standing

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(str(self.path))
        return connection

    def ask(self, target: str = "/", timeout: float = 5.0) -> bytes:
        with self.connect() as connection:
            connection.settimeout(timeout)
            try:  # a connection that is closed at once may be gone before the question is out, or before its answer
                connection.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                return connection.recv(65536)
            except (BrokenPipeError, ConnectionResetError):
                return b""


@pytest.fixture
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="eo-") as folder:
        made = Scene(Path(folder))
        yield made
        made.server.close()


def test_it_relays_and_gives_the_place_back(scene: Scene) -> None:
    before = scene.path.stat().st_ino
    standing = scene.interpose()
    assert scene.path.stat().st_ino != before
    assert scene.ask() == ANSWER
    interposer.end(standing)
    interposer.end(standing)
    assert scene.path.stat().st_ino == before
    assert scene.ask() == ANSWER
    assert {each.name for each in scene.folder.iterdir()} == {"it.sock", "processes.json", "log"}


def test_it_gives_the_place_back_when_its_starter_is_gone(scene: Scene) -> None:
    before = scene.path.stat().st_ino
    standing = scene.interpose(way="partition")
    child = interposer._running[standing.pid]
    assert child.stdin is not None
    child.stdin.close()
    child.wait(5)
    assert scene.path.stat().st_ino == before
    interposer.end(standing)


def test_it_leaves_a_place_alone_that_somebody_else_took_meanwhile(scene: Scene) -> None:
    standing = scene.interpose()
    scene.path.unlink()
    scene.path.write_text("another")
    interposer.end(standing)
    assert scene.path.read_text() == "another"


def test_only_the_wanted_are_hurt(scene: Scene) -> None:
    scene.hurt(2**22 + 1)
    standing = scene.interpose(way="down")
    assert scene.ask() == ANSWER
    scene.hurt(os.getpid())
    assert scene.ask() == b""
    assert interposer.steer(standing)["hurt"] == 1
    interposer.end(standing)


def test_a_partition_holds_everything_and_healing_ends_it(scene: Scene) -> None:
    standing = scene.interpose(way="partition")
    with pytest.raises(TimeoutError):
        scene.ask(timeout=0.3)
    assert scene.server.requests == 0
    interposer.steer(standing, way="pass")
    assert scene.ask() == ANSWER
    interposer.end(standing)


def test_a_delay_is_felt_in_both_directions(scene: Scene) -> None:
    standing = scene.interpose(way="delay", delay_s=0.1)
    begun = time.monotonic()
    assert scene.ask() == ANSWER
    assert time.monotonic() - begun >= 0.15
    interposer.end(standing)


def test_a_reset_cuts_what_is_open(scene: Scene) -> None:
    standing = scene.interpose()
    with scene.connect() as connection:
        assert interposer.until_used(standing, 5)
        interposer.steer(standing, way="reset", reset_s=0.01)
        try:
            assert connection.recv(1) == b""
        except ConnectionResetError:
            pass
    interposer.end(standing)


def test_a_bad_deploy_is_well_and_fails_at_all_else(scene: Scene) -> None:
    standing = scene.interpose(way="broken")
    assert scene.ask("/healthz").startswith(b"HTTP/1.1 200")
    assert scene.ask("/api/orders").startswith(b"HTTP/1.1 500")
    assert scene.server.requests == 0
    interposer.end(standing)


def test_a_lost_answer_was_carried_out(scene: Scene) -> None:
    standing = scene.interpose(way="lost")
    assert scene.ask() == b""
    assert scene.server.requests == 1
    interposer.end(standing)


def test_twice_asks_twice_and_answers_twice(scene: Scene) -> None:
    standing = scene.interpose(way="twice")
    with scene.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        found = b""
        while len(found) < 2 * len(ANSWER):
            found += connection.recv(65536)
    assert found == ANSWER * 2
    assert scene.server.requests == 2
    interposer.end(standing)


def test_connections_from_before_are_cut_by_their_caller(scene: Scene) -> None:
    own = process.identify(os.getpid())
    assert own is not None
    if not interposer.may_cut(own):
        pytest.skip("descriptors can't be borrowed here")
    with scene.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(65536) == ANSWER
        assert interposer.cut([own], str(scene.path), {2**22 + 1}) == 0
        assert interposer.cut([own], str(scene.path), {os.getpid()}) == 1
        assert connection.recv(1) == b""
