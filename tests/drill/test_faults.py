"""Every fault, once, against one real shop with a light trickle of orders: its effect is seen, it is healed, the shop is whole
again, and its books are right. What the shop promises under a fault is judged by drills, not here."""

from __future__ import annotations

import asyncio
import resource
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from everopen.base import process
from everopen.base.clock import Rng
from everopen.drill import interposer
from everopen.drill.faults import FAULTS, Injected, clock_jump, disks, full_disk, limits, squeeze
from everopen.drill.faults.victims import identities
from everopen.drill.ground import Ground
from everopen.drill.shop import ScratchShop
from tests.support.redis import PROGRAM, running_redis

SKUS = ["FAULT-1", "FAULT-2", "FAULT-3"]
HOME_MB = 1400
HOLD_S = 0.4
EFFECT_S = 6.0


class Trickle(threading.Thread):
    """Two clients that order one unit after another and send again, under the same key, what got no answer."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.enough = threading.Event()
        self.answers: list[tuple[float, float, int, str]] = []
        """Begun, seconds, status, id."""
        self.broken: list[float] = []
        self.ends: dict[str, str] = {}
        """What must become of each order: the token says it."""

    def run(self) -> None:
        other = threading.Thread(target=self._order, args=(1,), daemon=True)
        other.start()
        self._order(0)
        other.join()

    def _order(self, client: int) -> None:
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as http:
            while not self.enough.is_set():
                key, begun = f"trickle-{uuid.uuid4().hex}", time.monotonic()
                body = {
                    "lines": [{"sku": SKUS[len(self.answers) % len(SKUS)], "quantity": 1}],
                    "customer": {"email": "ann@example.org"},
                    "payment": {"provider": "sandbox", "token": ("tok_approve", "tok_decline")[client]},
                }
                while not self.enough.is_set():
                    try:
                        answer = http.post("/api/orders", json=body, headers={"Idempotency-Key": key})
                    except httpx.TransportError:
                        self.broken.append(time.monotonic())
                        time.sleep(0.05)
                        continue
                    order = answer.json().get("id", "") if answer.status_code == 201 else ""
                    self.ends[order] = ("paid", "declined")[client]
                    self.answers.append((begun, time.monotonic() - begun, answer.status_code, order))
                    break
                time.sleep(0.03)

    def since(self, begun: float) -> list[tuple[float, float, int, str]]:
        return [answer for answer in self.answers if answer[0] + answer[1] >= begun]


@pytest.fixture(scope="module")
def sessions() -> Iterator[dict[str, str]]:
    """Settings of a shop that keeps sessions in a Redis, where one is installed."""
    if PROGRAM is None:
        yield {}
        return
    with running_redis() as server:
        yield {"EVEROPEN_API_SESSION_STORE": "redis", "EVEROPEN_API_SESSION_REDIS_URL": server.url}


@pytest.fixture(scope="module")
def ground(sessions: dict[str, str]) -> Iterator[ScratchShop]:
    with ScratchShop({"EVEROPEN_CLUSTER_SHARED_BUFFERS_MB": "32", "EVEROPEN_CLUSTER_MAX_WAL_SIZE_MB": "64", "EVEROPEN_CLUSTER_WAL_KEEP_MB": "64", **sessions}) as shop:  # fmt: skip
        shop.environment.update(clock_jump.preloaded(shop.folder))
        if shop.root:
            with disks.small_disk(shop.home.root, HOME_MB):
                yield from opened(shop)
        else:
            yield from opened(shop)


def opened(shop: ScratchShop) -> Iterator[ScratchShop]:
    try:
        shop.start()
        shop.stock_up(SKUS)
        shop.until_whole()
        yield shop
    finally:
        shop.stop()


@pytest.fixture(scope="module")
def trickle(ground: ScratchShop) -> Iterator[Trickle]:
    with_orders = Trickle(ground.url)
    with_orders.start()
    yield with_orders
    with_orders.enough.set()
    with_orders.join(60)


# -- effects: each looks for what its fault must cause; None: not yet ------------------------------------------------


def sql(ground: Ground, statement: str, *, standby: bool = False, user: str = "postgres") -> Any:
    topology, secrets = ground.topology(), ground.secrets
    assert topology is not None
    node = topology.standbys[0] if standby else topology.primary
    assert node is not None

    async def ask() -> Any:
        connection = await asyncpg.connect(
            host=node.endpoint.path,
            port=node.endpoint.port,
            user=user,
            password=secrets.superuser if user == "postgres" else secrets.app,
            database="everopen",
            timeout=5,
        )
        try:
            return await connection.fetchval(statement)
        finally:
            connection.terminate()

    return asyncio.run(ask())


def state_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def is_replaced(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    return state_of(injected.pids[0]) in ("gone", "Z")


def is_stopped(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    return state_of(injected.pids[0]) in ("T", "Z", "gone")


def is_slowed(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    if "group" not in injected.data:
        return is_stopped(ground, injected, trickle, begun)
    with open(f"{injected.data['group']['folder']}/cgroup.procs") as handle:
        return str(injected.pids[0]) in handle.read().split()


def is_busy(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    with open(f"/proc/{injected.pids[0]}/stat") as handle:
        return int(handle.read().rpartition(")")[2].split()[11]) > 20  # ticks of processor time


def has_no_memory(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    try:
        soft, _ = limits.limits_of(injected.pids[0], resource.RLIMIT_AS)
        return 0 < soft < squeeze.address_space(injected.pids[0]) + 2 * 2**20
    except OSError:
        return True


def has_no_descriptors(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    try:
        soft, _ = limits.limits_of(injected.pids[0], resource.RLIMIT_NOFILE)
        return soft <= squeeze.descriptors(injected.pids[0])
    except OSError:
        return True


def is_refused_a_session(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    with pytest.raises(asyncpg.TooManyConnectionsError):
        sql(ground, "SELECT 1", user="everopen_app")
    return bool(injected.data["connections"] > 20)


def has_many_clients(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    port = f":{int(ground.url.rpartition(':')[2]):04X}"
    with open("/proc/net/tcp") as handle:
        rows = [line.split() for line in handle.readlines()[1:]]
    open_now = sum(1 for row in rows if row[1].endswith(port) and row[3] == "01")
    return open_now >= injected.data["connections"]


def is_without_sessions(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    """A visitor's cart waits with the reason; orders go on (the trickle sees to that)."""
    cookie = {"cookie": "everopen_session=" + "x" * 43}
    answer = httpx.get(f"{ground.url}/api/cart", headers=cookie, timeout=30, trust_env=False)
    return answer.status_code == 503 and "Redis" in answer.json()["detail"]


def is_late(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    """Orders wait: answered late, or not for a while."""
    answers = trickle.since(begun)
    last = max((at + took for at, took, _, _ in trickle.answers), default=begun)
    return any(took > 0.15 for _, took, _, _ in answers) or time.monotonic() - max(last, begun) > 0.3


def has_lost_somebody(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    """Its victims are dead. (Whether anybody had to wait for that is the shop's business.)"""
    return any(process.identify(pid) is None for pid in injected.pids)


def is_full(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    return disks.disk_of(ground).free_bytes < 4096


def is_filling(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    disk = disks.disk_of(ground)
    return disk.free_bytes < disk.total_bytes // 2


def page_is_bad(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    with open(injected.data["file"], "rb") as handle:
        handle.seek(injected.data["offset"])
        return handle.read(8) == bytes(each ^ 0xFF for each in bytes.fromhex(injected.data["before"]))


def is_between(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    (standing,) = identities(injected.data["interposer"])
    return interposer.steer(standing).get("hurt", 0) > 0


def is_asked_much(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    return is_between(ground, injected, trickle, begun) and len(trickle.since(begun)) >= 60


def is_seen_through(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    """The worker answered 500, and no client has seen it."""
    seen = any(status == 500 for _, _, status, _ in trickle.since(begun))
    return is_between(ground, injected, trickle, begun) and not seen


def has_leapt(ground: Ground, injected: Injected, trickle: Trickle, begun: float) -> bool:
    """The time in the ids of new orders is off."""
    orders = [order for at, _, status, order in trickle.since(begun) if status == 201 and at > begun]
    off_s = [(uuid.UUID(order).int >> 80) / 1000 - time.time() for order in orders]
    return any(abs(off - injected.data["jump_s"]) < 60 for off in off_s)


Effect = Callable[[Ground, Injected, Trickle, float], bool]


def effect_of(name: str) -> Effect:
    exact: dict[str, Effect] = {
        "busy-machine": is_busy,
        "connection-leak": is_refused_a_session,
        "client-connections": has_many_clients,
        "lock-pileup": is_late,
        "full-disk": is_full,
        "disk-filling": is_filling,
        "corrupt-page-standby": page_is_bad,
        "bad-deploy": is_seen_through,
        "clock-jump": has_leapt,
        "payments-twice": is_asked_much,
        "session-store-down": is_without_sessions,
        "everything": has_lost_somebody,
    }
    prefixes: dict[str, Effect] = {
        "kill-": is_replaced,
        "stop-": is_stopped,
        "slow-disk-": is_late,
        "slow-": is_slowed,
        "memory-leak-": has_no_memory,
        "descriptor-leak-": has_no_descriptors,
        "io-errors-": is_replaced,
        "network-": is_between,
        "payments-": is_between,
    }
    return exact.get(name) or next(effect for prefix, effect in prefixes.items() if name.startswith(prefix))


LAST = ("everything", "full-disk", "payments-twice")
"""The heaviest come last, and what leaves traces in the books."""
ORDER = sorted(set(FAULTS) - set(LAST)) + [name for name in LAST if name in FAULTS]


def payments_end_as_they_must(ground: Ground, trickle: Trickle, orders: list[str]) -> None:
    """Whatever the provider did meanwhile: approved is paid, declined is declined."""
    wrong, left, deadline = {}, orders[-80:], time.monotonic() + 30
    with httpx.Client(base_url=ground.url, timeout=30, trust_env=False) as http:
        while left:
            found = {order: http.get(f"/api/orders/{order}").json()["status"] for order in left}
            wrong |= {
                order: status
                for order, status in found.items()
                if status not in ("placed", trickle.ends[order])
            }
            left = [order for order, status in found.items() if status == "placed"]
            assert time.monotonic() < deadline, f"{len(left)} payments are still open"
            time.sleep(0.2)
    assert not wrong, f"{len(wrong)} of {len(orders)} payments ended otherwise than the provider said"


@pytest.mark.parametrize("name", ORDER)
def test_a_fault_is_felt_and_healed_and_the_shop_is_whole_and_right_again(
    name: str, ground: ScratchShop, trickle: Trickle, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]
    if (why := fault.missing(ground)) is not None:
        pytest.skip(f"not run: {why}")
    monkeypatch.setattr(squeeze, "STEP_S", 0.05)
    monkeypatch.setattr(full_disk, "STEP_S", 0.05)
    topology = ground.topology()
    assert topology is not None
    begun = time.monotonic()
    injected = fault.inject(ground, Rng(7))
    took = time.monotonic() - begun
    assert took < 15
    try:
        deadline = time.monotonic() + EFFECT_S
        while not effect_of(name)(ground, injected, trickle, begun):
            assert time.monotonic() < deadline, f"no effect of {name} was seen: {injected.what}"
            time.sleep(0.05)
        time.sleep(HOLD_S)
    finally:
        healing = time.monotonic()
        fault.heal(ground, injected)
    fault.heal(ground, injected)
    healed = time.monotonic()
    gone = injected.pids if name.startswith("kill-") else ()
    ground.until_whole(50, gone=gone, after_epoch=topology.epoch if name == "kill-primary" else None)
    whole = time.monotonic()
    seen = len(trickle.answers)
    deadline = time.monotonic() + 30
    while sum(status == 201 for _, _, status, _ in trickle.answers[seen:]) < 4:
        assert time.monotonic() < deadline, (trickle.answers[-3:], trickle.broken[-3:])
        time.sleep(0.02)
    answers = trickle.since(begun)
    print(
        f"\n{name}: {injected.what}; inject {took:.2f} s, heal {healed - healing:.2f} s, whole {whole - healed:.2f} s after,"
        f" longest wait {max(each[1] for each in answers):.2f} s,"
        f" not 201: {[each[2] for each in answers if each[2] != 201][:5]}x{sum(each[2] != 201 for each in answers)},"
        f" broken {sum(at >= begun for at in trickle.broken)}"
    )
    if name.startswith("payments-"):
        payments_end_as_they_must(ground, trickle, [order for _, _, _, order in answers if order])
    audit = ground.audit()
    assert audit["ok"], [check for check in audit["checks"] if not check["ok"]]
