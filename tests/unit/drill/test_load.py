"""Load clients against a tiny real server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from everopen.base.clock import Rng
from everopen.base.errors import InputError
from everopen.drill.history import read_ledger
from everopen.drill.load import Result, run_load
from everopen.drill.wire import Target, ask_all
from everopen.drill.workload import LoadSettings, arrival_times, parse_mix, read_skus

Behaviour = Callable[["TinyShop", str], bytes | None]


class TinyShop:
    """Counts orders by key. `behave` may answer instead; None cuts the connection after the order was booked."""

    def __init__(self, behave: Behaviour | None = None, pause_s: float = 0.0) -> None:
        self.orders: dict[str, str] = {}
        self.requests = 0
        self.connections = 0
        self.url = ""
        self._behave = behave
        self._pause_s = pause_s

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.requests += 1
                await asyncio.sleep(self._pause_s)
                answer = self.answer(head.split()[0], fields.get("idempotency-key", ""), body)
                if answer is None:
                    writer.transport.abort()
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, method: str, key: str, body: bytes) -> bytes | None:
        if self._behave is not None:
            return self._behave(self, key)
        return self.book(key) if method == "POST" else reply(200, {})

    def book(self, key: str) -> bytes:
        again = key in self.orders
        order = self.orders.setdefault(key, f"order-{len(self.orders)}")
        return reply(
            201,
            {"id": order, "total": {"amount": 5, "currency": "GBP"}},
            "Idempotency-Replayed: true\r\n" if again else "",
        )


def reply(status: int, body: object, extra: str = "") -> bytes:
    content = json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{extra}\r\n".encode() + content


@contextmanager
def serving(shop: TinyShop) -> Iterator[TinyShop]:
    """The shop on a free port, in a thread with its own loop."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(shop.talk, "127.0.0.1", 0)
        shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        await stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait(5)
    try:
        yield shop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def run(shop: TinyShop, ledger: Path | None = None, **settings: object) -> Result:
    return run_load(LoadSettings(skus=("A", "B"), **settings), shop.url, ledger=ledger, rng=Rng(1))  # type: ignore[arg-type]


def test_an_open_loop_sends_what_is_due_and_keeps_a_ledger(tmp_path: Path) -> None:
    with serving(TinyShop()) as shop:
        result = run(
            shop, tmp_path / "ledger.jsonl", rate=200, arrivals="fixed", seconds=0.5, mix=(("wide", 1.0),)
        )
    orders = list(read_ledger(tmp_path / "ledger.jsonl"))
    assert result.summary.outcomes == {"acknowledged": 99}
    assert {order.id for order in orders} == set(shop.orders.values())
    assert {order.key for order in orders} == set(shop.orders)
    assert {order.sku for order in orders} == {"A", "B"}
    assert all(order.total == 5 and order.tries == 1 and order.answered >= order.intended for order in orders)


def test_waits_count_from_when_a_request_was_due_even_while_no_connection_is_free() -> None:
    with serving(TinyShop(pause_s=0.1)) as shop:
        result = run(shop, rate=50, arrivals="fixed", seconds=0.5, connections_max=1)
    assert result.summary.outcomes == {"acknowledged": 24}
    assert shop.connections == 1
    assert result.summary.longest_wait_ms > 1000  # 24 × 100 ms through one connection, due within 500 ms


def test_a_closed_loop_keeps_each_client_on_one_connection() -> None:
    with serving(TinyShop()) as shop:
        result = run(shop, clients=4, seconds=0.3)
    assert shop.connections == 4
    assert result.summary.failed == 0
    assert result.summary.outcomes["acknowledged"] == shop.requests == len(shop.orders)


def cut_first_try(shop: TinyShop, key: str) -> bytes | None:
    known = key in shop.orders
    booked = shop.book(key)
    return booked if known else None


def test_with_retry_a_broken_connection_is_counted_and_the_same_key_is_sent_again(tmp_path: Path) -> None:
    with serving(TinyShop(cut_first_try)) as shop:
        result = run(shop, tmp_path / "ledger.jsonl", rate=50, arrivals="fixed", seconds=0.3, retry=True)
    orders = list(read_ledger(tmp_path / "ledger.jsonl"))
    assert result.summary.failed == 0
    assert result.summary.broken_connections == len(result.broken_at) == len(orders) == 14
    assert len(shop.orders) == 14
    assert all(order.replayed and order.tries == 2 for order in orders)


def test_without_retry_a_broken_connection_is_a_failed_request() -> None:
    with serving(TinyShop(lambda shop, key: None)) as shop:
        result = run(shop, rate=50, arrivals="fixed", seconds=0.3)
    assert result.summary.outcomes == {"broken": 14}
    assert result.summary.failed == result.summary.uncertain == 14
    assert {outcome for _, outcome in result.failures} == {"broken"}


@pytest.mark.parametrize(
    ("status", "outcome", "failed"),
    [
        (409, "sold_out", 0),
        (422, "refused", 1),
        (503, "unavailable", 1),
        (500, "server_error", 1),
        (200, "read", 0),
    ],
)
def test_each_answer_has_its_class(status: int, outcome: str, failed: int) -> None:
    with serving(TinyShop(lambda shop, key: reply(status, {}))) as shop:
        result = run(shop, rate=20, arrivals="fixed", seconds=0.1)
    assert (result.summary.outcomes, result.summary.failed) == ({outcome: 1}, failed)


def test_a_silent_shop_is_a_timeout_and_the_run_ends() -> None:
    with serving(TinyShop(pause_s=30)) as shop:
        result = run(shop, rate=20, arrivals="fixed", seconds=0.2, timeout_s=0.3)
    assert result.summary.outcomes == {"timeout": 3}


def test_a_full_queue_refuses_in_the_client_itself() -> None:
    with serving(TinyShop(pause_s=0.3)) as shop:
        result = run(shop, rate=100, arrivals="fixed", seconds=0.2, connections_max=1, queue_max=2)
    assert result.summary.outcomes["unsent"] == 19 - 3
    assert result.summary.outcomes["acknowledged"] == 3


def test_nobody_listening_is_broken_and_with_retry_a_timeout() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shop = TinyShop()
        shop.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert run(shop, rate=20, arrivals="fixed", seconds=0.1).summary.outcomes == {"broken": 1}
        result = run(shop, rate=20, arrivals="fixed", seconds=0.1, retry=True, timeout_s=0.2)
    assert result.summary.outcomes == {"timeout": 1}
    assert result.summary.refused_connections > 1


def test_browsing_asks_for_products() -> None:
    with serving(TinyShop()) as shop:
        result = run(shop, rate=50, arrivals="fixed", seconds=0.2, mix=(("browse", 1.0),))
    assert result.summary.outcomes == {"read": 9}


def test_many_questions_are_answered_in_their_order() -> None:
    with serving(TinyShop()) as shop:
        target = Target.from_url(shop.url)
        replies = asyncio.run(
            ask_all(
                target, [target.request("POST", "/", b"{}", key=str(n)) for n in range(40)], connections=3
            )
        )
    assert [json.loads(reply.body)["id"] for reply in replies] == [
        shop.orders[str(number)] for number in range(40)
    ]
    assert all(reply.status == 201 and not reply.replayed for reply in replies)


def test_arrivals_come_at_their_rate_and_repeat_with_their_seed() -> None:
    poisson = list(arrival_times(1000, 10, "poisson", Rng(7)))
    assert poisson == list(arrival_times(1000, 10, "poisson", Rng(7)))
    assert 9_500 < len(poisson) < 10_500
    assert list(arrival_times(4, 1, "fixed", Rng(7))) == [0.25, 0.5, 0.75]


def test_a_mix_is_kinds_with_weights() -> None:
    assert parse_mix("hot") == (("hot", 1.0),)
    assert parse_mix("wide=0.8, browse=0.2") == (("wide", 0.8), ("browse", 0.2))
    for wrong in ("cold", "hot=x", "hot=-1", "", "hot=nan"):
        with pytest.raises(InputError):
            parse_mix(wrong)


def test_skus_come_from_a_list_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "skus").write_text("A\n\nB\n")
    assert read_skus(f"@{tmp_path}/skus") == read_skus("A, B") == ("A", "B")
    for wrong in ("", f"@{tmp_path}/none"):
        with pytest.raises(InputError):
            read_skus(wrong)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:8080", "http://", "http://x/y"])
def test_only_a_plain_address_is_a_target(url: str) -> None:
    with pytest.raises(InputError, match="no address for a load client"):
        Target.from_url(url)


def test_a_loop_is_either_open_or_closed() -> None:
    with pytest.raises(InputError, match="exactly one"):
        run_load(LoadSettings(skus=("A",), seconds=1), "http://127.0.0.1:1", ledger=None, rng=Rng(1))
