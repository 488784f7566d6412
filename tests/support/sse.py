"""A follower of server-sent events that does what a browser does: after a break it comes again with the last id."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx


def parse(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Blocks of `field: value` lines; a block without fields is a heartbeat (`{}`)."""
    block: dict[str, str] = {}
    for line in lines:
        if not line:
            yield block
            block = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            block[name] = value


class Follower(threading.Thread):
    """Follows until stopped; `events` holds what came, decoded, in order."""

    def __init__(
        self,
        client: Callable[[], httpx.Client],
        path: str,
        headers: dict[str, str] | None = None,
        *,
        again: bool = True,
    ) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._path = path
        self._again = again
        self._headers = headers or {}
        self.last = ""
        self.events: list[dict[str, Any]] = []
        self.heartbeats = 0
        self.connections = 0
        self.statuses: list[int] = []
        self.open = threading.Event()
        self._stop_now = threading.Event()

    def run(self) -> None:
        while not self._stop_now.is_set():
            try:
                self._once()
            except httpx.TransportError:
                pass
            self.open.clear()
            if not self._again:
                return
            time.sleep(0.05)

    def _once(self) -> None:
        headers = {**self._headers, **({"Last-Event-ID": self.last} if self.last else {})}
        with (
            self._client() as client,
            client.stream("GET", self._path, headers=headers, timeout=30) as answer,
        ):
            self.statuses.append(answer.status_code)
            if answer.status_code != 200:
                return
            self.connections += 1
            for block in parse(answer.iter_lines()):
                self.open.set()
                if self._stop_now.is_set():
                    return
                if "id" in block:
                    self.last = block["id"]
                    event = json.loads(block["data"])
                    assert (event["id"], event["topic"]) == (block["id"], block["event"])
                    self.events.append(event)
                elif not block:
                    self.heartbeats += 1

    def __enter__(self) -> Follower:
        self.start()
        assert self.open.wait(20), self.statuses
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join(20)  # the next event or heartbeat ends it

    def until(self, true: Callable[[], Any], timeout_s: float = 20.0) -> None:
        """Waits until it is so."""
        deadline = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < deadline, (self.statuses, self.connections, self.events[-3:])
            time.sleep(0.01)

    def told(self, order_id: str) -> list[str]:
        """Topics of one order."""
        return [event["topic"] for event in list(self.events) if event["data"].get("order_id") == order_id]
