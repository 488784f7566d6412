"""Real processes are killed under load; nothing acknowledged is lost and no request fails that the promises cover."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.support.shop import Shop

SKU = "85123A"


class Load(threading.Thread):
    """A few clients that buy one unit after another, each over its own kept-alive connection, and keep the answers."""

    def __init__(self, shop: Shop, clients: int = 6) -> None:
        super().__init__(daemon=True)
        self.shop = shop
        self.stop_now = threading.Event()
        self.answers: list[tuple[int, str, str]] = []
        self.broken: list[str] = []
        self.threads = [threading.Thread(target=self._buy, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_now.set()
        for thread in self.threads:
            thread.join(60)

    def _buy(self) -> None:
        body = {
            "lines": [{"sku": SKU, "quantity": 1}],
            "customer": {"email": "load@example.org"},
            "payment": {"provider": "sandbox", "token": "tok_approve"},
        }
        with httpx.Client(base_url=self.shop.url, timeout=40) as client:
            while not self.stop_now.is_set():
                key = uuid.uuid4().hex
                try:
                    answer = client.post("/api/orders", json=body, headers={"Idempotency-Key": key})
                    self.answers.append((answer.status_code, key, answer.json().get("id", "")))
                except httpx.TransportError as error:
                    self.broken.append(repr(error))
                time.sleep(0.005)

    def until(self, wanted: int) -> None:
        """Waits for so many good answers."""
        deadline = time.monotonic() + 40
        while self.good() < wanted:
            assert time.monotonic() < deadline, (self.good(), self.answers[-3:], self.broken[-3:])
            time.sleep(0.02)

    def good(self) -> int:
        return sum(1 for status, _, _ in self.answers if status == 201)


def kill_tree(pid: int, number: int = signal.SIGKILL) -> None:
    """The whole node: postmaster and children."""
    for process in [psutil.Process(pid), *psutil.Process(pid).children()]:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def under_load(shop: Shop, fault: Callable[[], None]) -> Load:
    """Load before, while and after the fault, until the shop is whole again."""
    with Load(shop) as load:
        load.until(50)
        fault()
        seen = load.good()
        shop.until_whole()
        load.until(seen + 50)
    return load


def check_books(shop: Shop, load: Load) -> None:
    """Each acknowledged order exists once: asking again under its key answers with the same order."""
    done = shop.run("audit", "--json")
    assert done.returncode == 0, done.stdout
    for status, key, order in load.answers[:: max(1, len(load.answers) // 40)]:
        assert status == 201
        again = shop.order(SKU, key=key)
        assert again.status_code in (201, 422), again.text
        assert httpx.get(f"{shop.url}/api/orders/{order}", timeout=40).json()["id"] == order


def test_kill_of_the_whole_primary_fails_no_request(shop: Shop) -> None:
    epoch = shop.status()["epoch"]
    load = under_load(shop, lambda: kill_tree(shop.pids("primary")[0]))
    assert load.broken == []
    assert {status for status, _, _ in load.answers} == {201}
    assert shop.status()["epoch"] == epoch + 1
    check_books(shop, load)


def test_a_hanging_primary_is_replaced_and_fails_no_request(shop: Shop) -> None:
    epoch = shop.status()["epoch"]

    def hang() -> None:
        kill_tree(shop.pids("primary")[0], signal.SIGSTOP)
        shop.until(lambda document: document["epoch"] > epoch)

    load = under_load(shop, hang)
    assert load.broken == []
    assert {status for status, _, _ in load.answers} == {201}
    check_books(shop, load)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_hanging_worker_fails_no_request(shop: Shop, number: int) -> None:
    victim = shop.pids("worker")[0]

    def fault() -> None:
        os.kill(victim, number)
        shop.until(lambda document: all(entry["pid"] != victim for entry in document["processes"]))

    load = under_load(shop, fault)
    assert load.broken == []
    assert {status for status, _, _ in load.answers} == {201}
    check_books(shop, load)


def test_a_killed_gateway_breaks_only_the_connections_it_held(shop: Shop) -> None:
    load = under_load(shop, lambda: os.kill(shop.pids("gateway")[0], signal.SIGKILL))
    assert len(load.broken) <= len(load.threads)
    assert {status for status, _, _ in load.answers} == {201}
    check_books(shop, load)


@pytest.mark.parametrize("role", ["supervisor", "guardian", "standby", "console", "payments"])
def test_a_kill_of_anything_else_fails_no_request(shop: Shop, role: str) -> None:
    victim = shop.pids(role)[0]
    others = {pid for name in ("gateway", "worker", "primary") for pid in shop.pids(name)}

    def fault() -> None:
        os.kill(victim, signal.SIGKILL)
        shop.until(lambda document: all(entry["pid"] != victim for entry in document["processes"]))

    load = under_load(shop, fault)
    assert load.broken == []
    assert {status for status, _, _ in load.answers} == {201}
    assert {pid for name in ("gateway", "worker", "primary") for pid in shop.pids(name)} == others, (
        "adopted, not restarted"
    )
    check_books(shop, load)


def test_supervisor_and_primary_killed_together(shop: Shop) -> None:
    """Nobody watches when the primary dies; the next supervisor finds out and promotes."""
    supervisor, primary = shop.pids("supervisor")[0], shop.pids("primary")[0]

    def fault() -> None:
        os.kill(supervisor, signal.SIGKILL)
        kill_tree(primary)

    load = under_load(shop, fault)
    assert load.broken == []
    assert {status for status, _, _ in load.answers} == {201}
    check_books(shop, load)


def test_primary_and_standby_killed_together_lose_nothing(shop: Shop) -> None:
    def fault() -> None:
        for pid in (*shop.pids("primary"), *shop.pids("standby")):
            kill_tree(pid)

    load = under_load(shop, fault)
    assert load.broken == []
    assert {status for status, _, _ in load.answers} == {201}
    check_books(shop, load)


def test_a_worker_that_nobody_watches_is_ended_by_the_next_supervisor(shop: Shop) -> None:
    """A supervisor that is killed between starting a process and writing that down leaves it behind."""
    worker = psutil.Process(shop.pids("worker")[0])
    command = [*worker.cmdline()[:-1], worker.cmdline()[-1] + ".stray"]
    stray = psutil.Popen(command, env=shop.environment, stdout=-3, stderr=-3)
    os.kill(shop.pids("supervisor")[0], signal.SIGKILL)
    assert stray.wait(timeout=30) == -signal.SIGKILL
    shop.until_whole()
    assert worker.is_running()
