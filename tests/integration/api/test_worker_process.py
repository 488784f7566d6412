"""A worker as a process: how it starts, says how it is, and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.api.conftest import order_body, wait_for
from tests.integration.api.worker_process import OPERATOR_KEY, Running, can_connect, running_shop
from tests.support.postgres import Database


@pytest.fixture
def worker(api_database: Database) -> Iterator[Running]:
    """A worker of its own, without anything sold."""
    with tempfile.TemporaryDirectory(prefix="everopen-api-", dir="/tmp") as folder:
        with running_shop(Path(folder), api_database.topology_file) as running:
            yield running


def test_a_worker_tells_how_it_is(worker: Running) -> None:
    assert stat.S_IMODE(worker.socket.stat().st_mode) == 0o666
    assert worker.client.get("/healthz").json() == {"status": "ok"}
    assert worker.client.get("/readyz").json() == {"status": "ok", "epoch": 1}
    stats = worker.client.get("/stats").json()
    assert all(isinstance(value, int | float) for value in stats.values())
    assert stats["api_requests_total"] >= 3
    assert "date" not in worker.client.get("/healthz").headers
    assert worker.client.head("/").status_code == 200


def test_what_goes_on_inside_is_not_told_to_the_outside(worker: Running) -> None:
    assert worker.client.get("/stats", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 404


def test_sigterm_answers_what_is_in_flight_and_exits_with_0(worker: Running) -> None:
    body = str(order_body("x")).replace("'", '"').encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(worker.socket))
        head = f"POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body[:10])
        wait_for(lambda: worker.client.get("/stats").json()["api_in_flight"], lambda count: count == 2)
        worker.process.send_signal(signal.SIGTERM)
        wait_for(lambda: can_connect(worker.socket), lambda possible: not possible)
        client.sendall(body[10:])
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert worker.process.wait(10) == 0
    assert "Traceback" not in worker.log.read_text()


def test_ctrl_c_and_a_closed_terminal_do_not_end_it(worker: Running) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(worker.process.pid, number)
        assert worker.client.get("/healthz").status_code == 200


def test_without_a_primary_it_lives_but_is_not_ready(worker: Running, api_database: Database) -> None:
    api_database.publish(1, gone=True)

    async def end_connections() -> None:
        await api_database.kill_backends()

    try:
        asyncio.run(end_connections())
        answer = wait_for(lambda: worker.client.get("/readyz"), lambda answer: answer.status_code == 503)
        assert answer.json()["type"] == "/problems/unavailable"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-everopen-retry"] == "0"
        assert worker.client.get("/healthz").status_code == 200
    finally:
        api_database.publish(1)
    worker.wait_until("/readyz")


def test_an_order_waits_for_the_primary_to_come_back(worker: Running, api_database: Database) -> None:
    staff = {"authorization": f"Bearer {OPERATOR_KEY}"}
    product = {"sku": "WAIT", "title": "T", "price": {"amount": 1, "currency": "GBP"}, "tracks_stock": False}
    assert worker.client.put("/api/products", json={"products": [product]}, headers=staff).status_code == 200
    api_database.publish(1, gone=True)
    asyncio.run(api_database.kill_backends())
    back = threading.Timer(0.5, api_database.publish, (1,))
    back.start()
    try:
        assert worker.client.post("/api/orders", json=order_body("WAIT")).status_code == 201
    finally:
        back.join()


def test_an_order_that_finds_no_primary_is_told_to_try_again(api_database: Database) -> None:
    with tempfile.TemporaryDirectory(prefix="everopen-api-", dir="/tmp") as folder:
        with running_shop(
            Path(folder), api_database.topology_file, trading={"order_deadline_s": 0.3}
        ) as worker:
            api_database.publish(1, gone=True)
            try:

                def readiness() -> int:
                    # Again each time: a connection made before the worker looked at the topology is a good one to it.
                    asyncio.run(api_database.kill_backends())
                    return worker.client.get("/readyz").status_code

                wait_for(readiness, lambda status: status == 503)
                answer = worker.client.post("/api/orders", json=order_body("WAIT"))
                assert answer.status_code == 503
                assert answer.headers["x-everopen-retry"] == "0"
                assert int(answer.headers["retry-after"]) >= 1
            finally:
                api_database.publish(1)


def test_an_answer_leaves_in_one_write_and_pipelined_requests_in_their_order(worker: Running) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(worker.socket))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert client.recv(65536).endswith(b'\r\n\r\n{"status":"ok"}')
        client.sendall(
            b"".join(b"GET /nowhere%d HTTP/1.1\r\nHost: shop\r\n\r\n" % number for number in range(3))
        )
        seen = b""
        while seen.count(b"}") < 3:
            seen += client.recv(65536)
        assert [seen.index(b"nowhere%d" % number) for number in range(3)] == sorted(
            seen.index(b"nowhere%d" % number) for number in range(3)
        )
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        last = b""
        while part := client.recv(65536):
            last += part
        assert b"connection: close" in last
