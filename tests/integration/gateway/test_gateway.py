"""The proxy as clients see it: real gateway and backend processes, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from tests.integration.gateway.shop import Connection, Shop, drain, open_shop, wait_until
from tests.unit.gateway.malformed import MALFORMED


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A gateway with two backends and short timeouts, shared by the tests that break nothing."""
    with open_shop() as opened:
        opened.gateway(header_timeout_s=0.5, body_timeout_s=0.5, linger_s=0.3, request_deadline_s=5.0)
        opened.backend("a")
        opened.backend("b")
        yield opened


def settled(shop: Shop) -> None:
    """All counters that go both ways are back at zero: everything was given back exactly once."""
    for name in ("in_flight", "queued", "buffered_bytes", "connections"):
        wait_until(lambda name=name: (shop.stats() or {})[name] == 0)


def ask(
    shop: Shop, target: str, method: str = "GET", body: bytes = b"", headers: str = ""
) -> tuple[int, dict[str, str], bytes]:
    async def once() -> tuple[int, dict[str, str], bytes]:
        async with Connection(shop.port) as client:
            return await client.ask(target, method, body, headers)

    return asyncio.run(once())


def test_a_request_reaches_a_backend_and_its_answer_the_client(shop: Shop) -> None:
    status, _, body = ask(shop, "/echo?a=b", "POST", b"hello")
    seen = json.loads(body)
    assert (status, seen["method"], seen["url"], seen["body"]) == (200, "POST", "/echo?a=b", "hello")
    assert ["x-forwarded-for", "127.0.0.1"] in seen["headers"]
    settled(shop)


def test_a_trading_request_is_stamped_and_a_given_key_is_kept(shop: Shop) -> None:
    stamped = dict(json.loads(ask(shop, "/api/orders", "POST", b"{}")[2])["headers"])
    given = dict(
        json.loads(ask(shop, "/api/orders", "POST", b"{}", "Idempotency-Key: mine\r\n")[2])["headers"]
    )
    assert stamped["idempotency-key"].startswith("eo-")
    assert len(stamped["idempotency-key"]) == 35
    assert given["idempotency-key"] == "mine"


@pytest.mark.parametrize("own", [None, "mine"])
def test_a_request_that_is_sent_again_carries_the_same_key(shop: Shop, own: str | None) -> None:
    headers = "" if own is None else f"Idempotency-Key: {own}\r\n"
    before = (shop.stats() or {})["retries"]
    status, _, body = ask(shop, "/api/lose", "POST", b"{}", headers)
    noted = {notes.name: notes.read_text().split() for notes in shop.folder.glob("*.lost")}
    assert status == 200, body
    assert [name for name, keys in sorted(noted.items()) if body.decode() in keys] == [
        "a.sock.lost",
        "b.sock.lost",
    ]
    assert body.decode() == own if own else body.startswith(b"eo-")
    assert (shop.stats() or {})["retries"] == before + 1


@pytest.mark.parametrize(
    "target", ["/echo", "/healthz", "/chunks/3", "/big/100000", "/garbage", "/api/../#x"]
)
def test_every_answer_has_a_date(shop: Shop, target: str) -> None:
    raw = shop.raw(f"GET {target} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
    dates = [line for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n") if line.startswith(b"Date: ")]
    assert len(dates) == 1
    age_s = time.time() - parsedate_to_datetime(dates[0][6:].decode()).timestamp()
    assert -0.1 < age_s < 5
    settled(shop)


def test_a_date_of_the_worker_stays(shop: Shop) -> None:
    raw = shop.raw(b"GET /dated HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
    assert raw.count(b"Date: ") == raw.count(b"Date: Sun, 06 Nov 1994") == 1


@pytest.mark.parametrize(
    ("method", "target", "status", "length"),
    [
        ("GET", "/big/5000000", 200, 5_000_000),
        ("GET", "/big/60000", 200, 60_000),
        ("GET", "/chunks/30", 200, 300),
        ("GET", "/eof", 200, 13),
        ("GET", "/early", 200, 4),
        ("GET", "/empty", 204, 0),
        ("HEAD", "/headonly", 200, 0),
        ("GET", "/healthz", 200, 15),
        ("HEAD", "/healthz", 200, 0),
    ],
)
def test_answers_of_every_framing_arrive_whole_and_keep_the_connection(
    shop: Shop, method: str, target: str, status: int, length: int
) -> None:
    async def twice() -> None:
        async with Connection(shop.port) as client:
            for _ in range(2):
                answer = await client.ask(target, method)
                assert (answer[0], len(answer[2])) == (status, length)
                assert "x-hop" not in answer[1]

    asyncio.run(twice())
    settled(shop)


def test_malformed_requests_get_a_problem_document_and_reach_no_backend(shop: Shop) -> None:
    before = shop.stats() or {}
    for name, data, status in MALFORMED:
        head, _, body = shop.raw(data).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), (name, head, body)
        assert b"application/problem+json" in head, name
        assert b"Connection: close" in head, name
        assert json.loads(body)["status"] == status, name
        assert len(json.loads(body)["detail"]) > 20, name
    after = shop.stats() or {}
    assert after["requests"] == before["requests"]
    assert after["refused"] - before["refused"] == len(MALFORMED)
    settled(shop)


def test_what_follows_a_refused_request_is_not_a_request(shop: Shop) -> None:
    smuggled = (
        b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /smuggled HTTP/1.1\r\nHost: shop\r\n\r\n"
    )
    assert shop.raw(smuggled).count(b"HTTP/1.1 ") == 1


def test_a_body_that_turns_out_too_large_is_refused_while_it_is_sent(shop: Shop) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as client:
        with contextlib.suppress(OSError):
            client.sendall(
                b"POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 140
            )
        assert drain(client).startswith(b"HTTP/1.1 413 ")
    settled(shop)


def test_pipelined_requests_are_answered_in_order(shop: Shop) -> None:
    targets = [f"/{kind}/{number}" for number in range(10) for kind in ("sleep", "echo")]
    data = "".join(f"GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n" for target in targets)

    async def run() -> list[str]:
        async with Connection(shop.port) as client:
            client.writer.write(data.encode())
            return [json.loads((await client.answer())[2])["url"] for _ in targets]

    assert asyncio.run(run()) == targets
    settled(shop)


def test_http_1_0_clients_get_an_answer_that_ends_with_the_connection(shop: Shop) -> None:
    head, _, body = shop.raw(b"GET /chunks/3 HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert len(body) == 30


def test_a_client_that_closes_its_side_still_gets_its_answer(shop: Shop) -> None:
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as client:
        client.sendall(b"GET /sleep/100 HTTP/1.1\r\nHost: shop\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert drain(client).startswith(b"HTTP/1.1 200 ")
    settled(shop)


def test_expect_100_continue_is_answered_before_the_body_is_sent(shop: Shop) -> None:
    async def run() -> None:
        async with Connection(shop.port) as client:
            client.writer.write(
                b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            assert (await client.answer())[0] == 100
            client.writer.write(b"ok")
            assert json.loads((await client.answer())[2])["body"] == "ok"

    asyncio.run(run())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: shop\r\nX-Slow: ",
        b"POST /echo HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc",
    ],
)
def test_a_client_that_stops_in_the_middle_of_a_request_gets_408(shop: Shop, data: bytes) -> None:
    assert shop.raw(data).startswith(b"HTTP/1.1 408 ")
    settled(shop)


def test_a_client_that_reads_slowly_gets_everything(shop: Shop) -> None:
    before = (shop.stats() or {})["bytes_out"]
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(b"GET /big/30000000 HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        time.sleep(0.3)  # by now all buffers on the way are full
        assert 0 < (shop.stats() or {})["bytes_out"] - before < 10_000_000, "the worker is held back"
        got = 0
        while piece := client.recv(65536):
            got += len(piece)
        assert got > 30_000_000
    settled(shop)


def test_clients_that_leave_give_back_all_they_held(shop: Shop) -> None:
    for data in (
        b"GET /sleep/200 HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET /big/50000000 HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"GET /chunks/500 HTTP/1.1\r\nHost: shop\r\n\r\n" * 3,
        b"POST /echo HTTP/1.1\r\nHost: shop\r\nContent-Length: 500000\r\n\r\nabc",
    ):
        with socket.create_connection(("127.0.0.1", shop.port)) as client:
            client.sendall(data)
            if b"/big" in data:
                client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
    settled(shop)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("POST", "/none", 502), ("GET", "/none", 502), ("GET", "/garbage", 502), ("GET", "/decline/a", 200)],
)
def test_a_failing_worker_gives_a_problem_document_or_is_replaced(
    shop: Shop, method: str, target: str, status: int
) -> None:
    answer = ask(shop, target, method, b"x" if method == "POST" else b"")
    assert answer[0] == status
    if status != 200:
        assert json.loads(answer[2])["status"] == status
    settled(shop)
    wait_until(lambda: (shop.stats() or {})["backends_healthy"] == 2)


def test_an_answer_cut_after_its_head_closes_the_client(shop: Shop) -> None:
    answer = shop.raw(b"GET /cut HTTP/1.1\r\nHost: shop\r\n\r\n")
    assert answer.endswith(b"some")
    settled(shop)


def test_bodies_that_are_announced_and_never_sent_take_no_room_from_others() -> None:
    with open_shop() as shop, contextlib.ExitStack() as stack:
        shop.gateway(max_buffered_bytes=1 << 20)
        shop.backend("a")
        for _ in range(3):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", shop.port)))
            idle.sendall(head := b"POST /api/echo HTTP/1.1\r\nHost: shop\r\nContent-Length: 1048576\r\n\r\nx")
        wait_until(lambda: (shop.stats() or {})["bytes_in"] == 3 * len(head))
        assert ask(shop, "/api/echo", "POST", b"a real order")[0] == 200
        stack.close()
        settled(shop)


def test_more_requests_than_places_wait_in_the_queue_and_more_than_that_are_shed() -> None:
    async def many(port: int, count: int) -> list[int]:
        async def once() -> int:
            async with Connection(port) as client:
                return (await client.ask("/sleep/300"))[0]

        return sorted(await asyncio.gather(*(once() for _ in range(count))))

    with open_shop() as opened:
        opened.gateway(max_in_flight=2, max_queued=3)
        opened.backend("a")
        assert asyncio.run(many(opened.port, 8)) == [200] * 5 + [503] * 3
        stats = opened.stats() or {}
        assert (stats["queue_waits"], stats["shed"]) == (3, 3)
        settled(opened)


def test_connections_beyond_the_bound_wait_until_one_closes() -> None:
    with open_shop() as opened:
        opened.gateway(max_connections=2)
        opened.backend("a")

        async def run() -> None:
            async with (
                Connection(opened.port) as one,
                Connection(opened.port) as two,
                Connection(opened.port) as three,
            ):
                assert (await one.ask("/echo"))[0] == 200
                assert (await two.ask("/echo"))[0] == 200
                waiting = asyncio.create_task(three.ask("/echo"))
                await asyncio.sleep(0.2)
                assert not waiting.done()
                one.writer.close()
                assert (await waiting)[0] == 200

        asyncio.run(run())
