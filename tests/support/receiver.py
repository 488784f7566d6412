"""A subscriber for tests: a real HTTP server on the loopback that notes what it gets and answers as told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Listens in threads of its own. `answer` gets the event and says the status (or sleeps first)."""

    def __init__(self, answer: Callable[[dict[str, Any]], int] = lambda event: 200) -> None:
        self.answer = answer
        self.got: list[dict[str, Any]] = []
        """Events that were answered with 2xx, in the order of their answers."""
        self.tried: list[dict[str, Any]] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.peers: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> Receiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                event = json.loads(body)
                with receiver._lock:
                    receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    receiver.tried.append(event)
                    receiver.peers.add(self.client_address)
                status = receiver.answer(event)
                if 200 <= status < 300:
                    with receiver._lock:
                        receiver.got.append(event)
                try:
                    self.send_response(status)
                    if 300 <= status < 400:
                        self.send_header("location", "http://127.0.0.1:1/")
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the shop did not wait

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                pass  # a killed shop hangs up in the middle

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def topics(self, subject: str) -> list[str]:
        """Topics that were taken of one order, in order, each event once (its first arrival)."""
        seen: dict[str, str] = {}
        with self._lock:
            for event in self.got:
                if event["data"].get("order_id", event["subject"]) == subject:
                    seen.setdefault(event["id"], event["topic"])
        return list(seen.values())

    def ids(self) -> list[int]:
        """Numbers of the events that were taken."""
        with self._lock:
            return [int(event["id"].removeprefix("evt_")) for event in self.got]


def verify(secret: str, headers: dict[str, str], body: bytes, *, now_s: float | None = None) -> None:
    """Checks a signature as the Standard Webhooks specification says, written from it and not from our code."""
    timestamp = int(headers["webhook-timestamp"])
    assert abs((now_s or time.time()) - timestamp) < 300
    key = base64.b64decode(secret[len("whsec_") :])
    signed = f"{headers['webhook-id']}.{timestamp}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert expected in [part.split(",", 1)[1] for part in headers["webhook-signature"].split(" ")]


async def until(true: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Waits until it is so."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)
