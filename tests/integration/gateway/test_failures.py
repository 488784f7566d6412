"""Processes die, hang and come back, and no keyed request is lost. Faults by signal, on real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.integration.gateway.shop import Connection, Shop, open_shop, wait_until


def under_load(
    shop: Shop, fault: Callable[[], Awaitable[None]], *, target: str = "/api/sleep/5", clients: int = 32
) -> Counter[object]:
    """Keyed POSTs on keep-alive connections before, during and after `fault`; counts answers by status, or by the
    name of the error that broke a connection."""
    outcomes: Counter[object] = Counter()

    async def client(over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                async with Connection(shop.port) as connection:
                    while not over.is_set():
                        outcomes[(await connection.ask(target, "POST", b"{}"))[0]] += 1
            except (OSError, EOFError) as error:
                outcomes[type(error).__name__] += 1

    async def run() -> None:
        over = asyncio.Event()
        tasks = [asyncio.create_task(client(over)) for _ in range(clients)]
        await asyncio.sleep(0.3)
        await fault()
        await asyncio.sleep(0.3)
        over.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    return outcomes


def test_killing_one_of_two_backends_fails_no_keyed_request_and_its_successor_takes_part() -> None:
    with open_shop() as shop:
        shop.gateway()
        shop.backend("a")
        shop.backend("b")

        async def fault() -> None:
            shop.kill("a")
            await asyncio.sleep(0.3)  # the topology still names it: the gateway finds out by itself
            await asyncio.to_thread(shop.backend, "a", socket_name="a-2")

        outcomes = under_load(shop, fault)
        assert set(outcomes) == {200}, outcomes
        stats = shop.stats() or {}
        assert stats["ejections"] >= 1
        assert stats["retries"] >= 1
        names = {ask_name(shop) for _ in range(60)}
        assert names == {"a", "b"}


def ask_name(shop: Shop) -> str:
    async def once() -> str:
        async with Connection(shop.port) as connection:
            return str(json.loads((await connection.ask("/echo"))[2])["name"])

    return asyncio.run(once())


def test_killing_all_backends_fails_no_keyed_request_when_they_return() -> None:
    with open_shop() as shop:
        shop.gateway()
        shop.backend("a")
        shop.backend("b")

        async def fault() -> None:
            shop.kill("a")
            shop.kill("b")
            await asyncio.sleep(0.4)
            await asyncio.to_thread(shop.backend, "a")  # at the same endpoint: found by a probe

        outcomes = under_load(shop, fault)
        assert set(outcomes) == {200}, outcomes


def test_a_hung_backend_is_found_by_its_silence_and_its_requests_go_elsewhere() -> None:
    with open_shop() as shop:
        shop.gateway(stall_s=0.2, probe_timeout_s=0.3)
        shop.backend("a")
        shop.backend("b")

        async def fault() -> None:
            shop.processes["a"].send_signal(signal.SIGSTOP)
            while not (shop.stats() or {})["ejections"]:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            shop.processes["a"].send_signal(signal.SIGCONT)

        outcomes = under_load(shop, fault)
        assert set(outcomes) == {200}, outcomes
        wait_until(lambda: (shop.stats() or {})["backends_healthy"] == 2)


def test_two_of_three_hung_backends_leave_the_shop_open() -> None:
    with open_shop() as shop:
        shop.gateway(stall_s=0.2, probe_timeout_s=0.3)
        for name in "abc":
            shop.backend(name)

        async def fault() -> None:
            for name in "ab":
                shop.processes[name].send_signal(signal.SIGSTOP)
            while (shop.stats() or {})["backends_healthy"] != 1:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)

        outcomes = under_load(shop, fault)
        assert set(outcomes) == {200}, outcomes
        for name in "ab":
            shop.processes[name].send_signal(signal.SIGCONT)


def test_a_slow_backend_that_answers_probes_is_not_ejected() -> None:
    with open_shop() as shop:
        shop.gateway(stall_s=0.1)
        shop.backend("a")

        async def slow() -> int:
            async with Connection(shop.port) as connection:
                return (await connection.ask("/sleep/800"))[0]

        assert asyncio.run(slow()) == 200
        stats = shop.stats() or {}
        assert stats["probes"] >= 1
        assert stats["ejections"] == 0


def test_without_a_worker_a_request_waits_for_one_and_gets_503_after_its_deadline() -> None:
    with open_shop() as shop:
        shop.gateway(request_deadline_s=0.6)

        async def ask() -> tuple[int, dict[str, str], bytes]:
            async with Connection(shop.port) as connection:
                at_once = await connection.ask("/readyz")
                assert (at_once[0], (shop.stats() or {})["timeouts"]) == (503, 0), "a question, not an order"
                return await connection.ask("/echo")

        status, headers, body = asyncio.run(ask())
        assert (status, headers["retry-after"]) == (503, "1")
        assert "worker" in json.loads(body)["detail"]

    with open_shop() as shop:
        shop.gateway(request_deadline_s=20.0)

        async def ask_and_start() -> int:
            async with Connection(shop.port) as connection:
                asking = asyncio.create_task(connection.ask("/api/orders", "POST", b"{}"))
                await asyncio.sleep(0.3)
                await asyncio.to_thread(shop.backend, "late")
                return (await asking)[0]

        assert asyncio.run(ask_and_start()) == 200


def test_the_gateway_goes_on_with_its_last_topology() -> None:
    with open_shop() as shop:
        shop.gateway()
        shop.backend("a")
        shop.topology.write_text("{ not a topology")
        assert ask_name(shop) == "a"
        shop.topology.unlink()
        assert ask_name(shop) == "a"


def test_a_draining_worker_gets_nothing_new_and_a_vanished_one_ends_what_it_has() -> None:
    with open_shop() as shop:
        shop.gateway()
        shop.backend("a")
        shop.backend("b")

        async def run() -> list[int]:
            async with Connection(shop.port) as one, Connection(shop.port) as two:
                slow = [asyncio.create_task(client.ask("/sleep/500")) for client in (one, two)]
                await asyncio.sleep(0.1)
                del shop.views["a"]
                await asyncio.to_thread(shop.publish)
                return [(await task)[0] for task in slow]

        assert asyncio.run(run()) == [200, 200]
        assert {ask_name(shop) for _ in range(20)} == {"b"}


def test_sigterm_ends_requests_in_flight_and_exits_with_0() -> None:
    with open_shop() as shop:
        gateway = shop.gateway()
        shop.backend("a")

        async def run() -> None:
            async with Connection(shop.port) as busy, Connection(shop.port) as idle:
                await idle.ask("/echo")
                asking = asyncio.create_task(busy.ask("/sleep/600"))
                await asyncio.sleep(0.2)
                gateway.send_signal(signal.SIGTERM)
                status, headers, _ = await asking
                assert (status, headers.get("connection")) == (200, "close")
                assert await busy.reader.read() == b""
                assert await idle.reader.read() == b""

        asyncio.run(run())
        assert gateway.wait(10) == 0


def test_sigterm_does_not_wait_for_ever() -> None:
    with open_shop() as shop:
        gateway = shop.gateway(drain_s=0.3)
        shop.backend("a")

        async def run() -> None:
            async with Connection(shop.port) as busy:
                asking = asyncio.create_task(busy.ask("/sleep/60000"))
                await asyncio.sleep(0.2)
                gateway.send_signal(signal.SIGTERM)
                assert (await asyncio.gather(asking, return_exceptions=True))[
                    0
                ].__class__ is asyncio.IncompleteReadError

        asyncio.run(run())
        assert gateway.wait(10) == 0


def test_killing_one_of_two_gateways_breaks_only_its_own_connections() -> None:
    with open_shop() as shop:
        shop.gateway("gateway-1")
        shop.gateway("gateway-2")
        shop.backend("a")
        clients = 32
        held: list[float] = []

        async def fault() -> None:
            held.append((shop.stats("gateway-1") or {})["connections"])
            held.append((shop.stats("gateway-2") or {})["connections"])
            os.kill(shop.processes["gateway-1"].pid, signal.SIGKILL)

        outcomes = under_load(shop, fault, clients=clients)
        broken = sum(number for outcome, number in outcomes.items() if outcome != 200)
        assert sum(held) == clients
        assert min(held) >= 1, "both took part"
        assert broken == held[0], (outcomes, held)


def test_a_backend_that_answers_500_where_another_does_not_fails_no_keyed_request_and_is_out_after_a_few() -> (
    None
):
    with open_shop() as shop:
        shop.gateway(failing_s=60.0)
        shop.backend("a")
        shop.backend("b")

        async def fault() -> None:
            await asyncio.sleep(0)

        outcomes = under_load(shop, fault, target="/api/bad/a")
        stats = shop.stats() or {}
        assert set(outcomes) == {200}, outcomes
        assert stats["ejections"] == 1
        assert 3 <= stats["second_opinions"] <= 40  # those in flight when it was found out
        assert {ask_name(shop) for _ in range(20)} == {"b"}


def test_a_backend_out_for_its_500s_comes_back_and_is_out_for_longer_when_it_fails_again() -> None:
    with open_shop() as shop:
        shop.gateway(failing_s=0.2)
        shop.backend("a")
        shop.backend("b")

        async def bad_requests(until_ejections: int) -> None:
            async with Connection(shop.port) as connection:
                while (shop.stats() or {})["ejections"] < until_ejections:
                    assert (await connection.ask("/api/bad/a", "POST", b"{}"))[0] == 200

        asyncio.run(bad_requests(1))
        wait_until(lambda: (shop.stats() or {})["backends_healthy"] == 2)
        asyncio.run(bad_requests(2))
        before = (shop.stats() or {})["second_opinions"]
        wait_until(lambda: (shop.stats() or {})["backends_healthy"] == 2)
        assert before == 4  # three to find out, one to remember
        assert {ask_name(shop) for _ in range(60)} == {"a", "b"}


def test_a_request_that_every_backend_answers_with_500_is_nobodys_fault_and_its_answer_is_passed_on() -> None:
    with open_shop() as shop:
        shop.gateway()
        shop.backend("a")
        shop.backend("b")

        async def fault() -> None:
            await asyncio.sleep(0)

        outcomes = under_load(shop, fault, target="/api/poison", clients=4)
        stats = shop.stats() or {}
        assert set(outcomes) == {500}, outcomes
        assert stats["ejections"] == 0
        assert (
            stats["second_opinions"] <= 0.2 * stats["requests"] + 100
        )  # a bad client does not double the load


def test_an_unkeyed_request_answered_with_500_is_not_sent_twice() -> None:
    with open_shop() as shop:
        shop.gateway()
        shop.backend("a")
        shop.backend("b")

        async def ask() -> set[int]:
            async with Connection(shop.port) as connection:
                return {(await connection.ask("/bad/a", "POST", b"{}"))[0] for _ in range(20)}

        assert asyncio.run(ask()) == {200, 500}
        assert (shop.stats() or {})["second_opinions"] == 0
