"""A checker that can't fail is worthless: each is shown a shop that is broken on purpose and must see it, and the same shop
unbroken and must be content. One scratch shop plays all scenes; the product's source knows nothing of the mutations."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import msgspec
import pytest

from everopen.base import process
from everopen.drill.checkers import CHECKERS, Verdict
from everopen.drill.evidence import Episode, Event, Evidence
from everopen.drill.faults.fault import Promise
from everopen.drill.ground import node_processes, postgres_kind, title_of
from everopen.drill.listener import Listener
from tests.support.mutations import rows
from tests.support.mutations.buyers import Buyer, Buyers
from tests.support.mutations.scene import SCARCE, SKU, Scene, open_scene

STALL_S_MAX = 0.9
PATIENT = Promise("none", wait_s_max=6.0, whole_s_max=120.0)
"""As a crash's promise, but for a machine that is busy with other tests."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with open_scene() as opened:
        yield opened


# --- what buyers do -----------------------------------------------------------------------------------------------


def shop_around(buyer: Buyer, number: int) -> None:
    """Buys, reads back, looks at the shelf; sometimes sends a request twice, takes of what is scarce, fills a cart."""
    key = buyer.new_key()
    bought = buyer.order(SKU, 1 + number % 2, key=key)
    if bought.outcome == "acknowledged":
        buyer.look_at_order(bought.order)
    if number % 4 == 0:
        buyer.order(SKU, 1 + number % 2, key=key)
    buyer.look_at_stock(SKU)
    if number % 3 == 0:
        buyer.order(SCARCE)
        buyer.look_at_stock(SCARCE)
    if number % 3 == 1:
        buyer.add(SKU, 2)
        buyer.look_at_cart()
        buyer.set(SKU, 3)
        buyer.look_at_cart()


def buy(buyer: Buyer, number: int) -> None:
    """Buys, and nothing that could wait where orders don't: a cart on a primary that is cut off hangs for good."""
    buyer.order(SKU, 1 + number % 2)


def lose_patience(buyer: Buyer, number: int) -> None:
    """Hangs up before the answer can be there, sends the same once more, hangs up again."""
    buyer.look_at_stock(SKU)
    key = buyer.new_key()
    for _ in range(2):
        buyer.order(SKU, key=key, patience_s=0.0001)
        time.sleep(0.05)


# --- plays: what happens to the shop meanwhile ---------------------------------------------------------------------

Play = Callable[[Scene], Evidence]


def in_peace(scene: Scene) -> Evidence:
    """Nothing happens."""
    with Buyers(scene.shop.url, shop_around, count=4, prefix=scene.prefix()) as buyers:
        buyers.until(60)
    return scene.evidence(buyers.operations)


def without_patience(scene: Scene) -> Evidence:
    """The buyers hang up."""
    start = time.time()
    with Buyers(scene.shop.url, lose_patience, count=3, prefix=scene.prefix(), rounds=8) as buyers:
        pass
    time.sleep(0.5)
    left = Episode(
        fault="hang up", start=start, end=time.time(), whole=time.time(), promise=Promise("not covered")
    )
    assert any(operation.outcome == "timeout" for operation in buyers.operations)
    return scene.evidence(buyers.operations, (left,))


def answered_twice(scene: Scene) -> Evidence:
    """The provider's answers come again, as webhooks do."""
    with Buyers(scene.shop.url, shop_around, count=3, prefix=scene.prefix()) as buyers:
        buyers.until(40)
    scene.evidence([])
    again = "SELECT settle_payments(array_agg(id), array_agg('approved'::text), array_agg('again'::text)) FROM payment_intents"
    rows.execute(scene.shop, again)
    return scene.evidence(buyers.operations)


def worker_killed(scene: Scene) -> Evidence:
    """A worker stops and dies with all that was sent to it."""

    def kill() -> list[int]:
        victim = min(scene.shop.pids("worker"))
        scene.shop.send(victim, signal.SIGSTOP)
        time.sleep(0.15)
        scene.shop.send(victim, signal.SIGKILL)
        return [victim]

    with Buyers(scene.shop.url, shop_around, count=8, prefix=scene.prefix()) as buyers:
        buyers.until(60)
        episode = scene.strike("kill-worker", PATIENT, kill)
        buyers.until(30)
    return scene.evidence(buyers.operations, (episode,))


def kill_primary(scene: Scene, *, stall: bool) -> Evidence:
    """The primary dies, all of it at once, after its WAL has not left it for a while (`stall`)."""

    def kill() -> list[int]:
        (postmaster,) = scene.shop.pids("primary")
        everyone = node_processes(postmaster)
        if stall:
            for pid in everyone:
                if postgres_kind(title_of(pid)) == "walsender":
                    os.kill(pid, signal.SIGSTOP)
            deadline = time.monotonic() + STALL_S_MAX
            wanted = buyers.acknowledged() + 12
            while buyers.acknowledged() < wanted and time.monotonic() < deadline:
                time.sleep(0.01)
        for pid in everyone:
            with suppress(ProcessLookupError):  # a session that ended by itself meanwhile
                os.kill(pid, signal.SIGKILL)
        return [postmaster]

    with Buyers(scene.shop.url, shop_around, count=4, prefix=scene.prefix()) as buyers:
        buyers.until(40)
        episode = scene.strike("kill-primary", PATIENT, kill)
        buyers.until(40)
    return scene.evidence(buyers.operations, (episode,), ((episode.start, episode.whole or episode.end),))


def primary_killed(scene: Scene) -> Evidence:
    """The primary dies."""
    return kill_primary(scene, stall=False)


def primary_killed_with_wal_held_back(scene: Scene) -> Evidence:
    """The primary dies with what the standby has not got yet."""
    return kill_primary(scene, stall=True)


def primary_cut_off(scene: Scene) -> Evidence:
    """The primary lives and works, but nobody can open a connection: it is taken to hang and replaced."""
    (postmaster,) = scene.shop.pids("primary")
    old = [identity for pid in node_processes(postmaster) if (identity := process.identify(pid))]
    epoch, start = scene.topology().epoch, time.time()
    with Buyers(scene.shop.url, buy, count=4, prefix=scene.prefix()) as buyers:
        buyers.until(40)
        os.kill(postmaster, signal.SIGSTOP)
        deadline = time.monotonic() + 20
        while scene.topology().epoch == epoch:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        buyers.until(15)
        for identity in old:  # at the latest now
            process.send(identity, signal.SIGKILL)
        scene.mutate(roles=("supervisor", "worker"))
    whole = scene.shop.until_whole(after_epoch=epoch, gone=[postmaster])
    episode = Episode(
        fault="cut-off", start=start, whole=whole, end=time.time(), promise=Promise("not covered")
    )
    return scene.evidence(buyers.operations, (episode,), ((start, whole),))


def standby_lags(scene: Scene) -> Evidence:
    """The standby confirms, but shows nothing new."""
    with replay_paused(scene), Buyers(scene.shop.url, shop_around, count=4, prefix=scene.prefix()) as buyers:
        buyers.until(60)
    return scene.evidence(buyers.operations)


@contextmanager
def replay_paused(scene: Scene) -> Iterator[None]:
    standby = scene.topology().standbys[0].endpoint
    rows.execute(scene.shop, "SELECT pg_wal_replay_pause()", at=standby)
    try:
        yield
    finally:
        rows.execute(scene.shop, "SELECT pg_wal_replay_resume()", at=standby)


def somebody_listens(scene: Scene) -> Evidence:
    """A subscriber that refuses each third event at its first delivery; a worker dies meanwhile."""
    refused: set[str] = set()

    def refuse(event: Event) -> bool:
        again = event.id in refused or int(event.id.removeprefix("evt_")) % 3 > 0
        refused.add(event.id)
        return not again

    def kill() -> list[int]:
        victim = min(scene.shop.pids("worker"))
        scene.shop.send(victim, signal.SIGKILL)
        return [victim]

    with Listener(scene.shop, refuse=refuse) as listener:
        with Buyers(scene.shop.url, buy, count=4, prefix=scene.prefix()) as buyers:
            buyers.until(30)
            episode = scene.strike("kill-worker", PATIENT, kill)
            buyers.until(30)
        evidence = scene.evidence(buyers.operations, (episode,))
        return msgspec.structs.replace(evidence, events=listener.events(60.0))


# --- mutations ----------------------------------------------------------------------------------------------------


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A broken shop, what happens in it, and who must notice."""

    play: Play
    caught_by: frozenset[str]
    changes: tuple[rows.Change, ...] = ()
    unchecked: bool = False
    processes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("worker",)

    def broken(self, scene: Scene) -> AbstractContextManager[Any]:
        """Breaks the rows' part."""
        stack = ExitStack()
        stack.enter_context(rows.unchecked_stock(scene.shop) if self.unchecked else nullcontext())
        stack.enter_context(rows.changed(scene.shop, self.changes))
        return stack


def case(play: Play, *caught_by: str, **more: Any) -> Case:
    return Case(play=play, caught_by=frozenset(caught_by), **more)


CASES: dict[str, Case] = {
    "stock is promised without looking": case(
        in_peace, "no_oversell", "stock_linearizable", changes=rows.OVERSELL, unchecked=True
    ),
    "keys are not written down": case(
        in_peace, "acknowledged_once", "unacknowledged_at_most_once", changes=rows.NO_KEYS
    ),
    "keys are not written down and buyers hang up": case(
        without_patience, "unacknowledged_at_most_once", changes=rows.NO_KEYS
    ),
    "half of a ledger event is missing": case(in_peace, "ledger_zero", changes=rows.NO_LEDGER_ROW),
    "orders are not announced": case(in_peace, "events_announced", changes=rows.NO_EVENT),
    "orders are announced twice": case(in_peace, "events_announced", changes=rows.TWO_EVENTS),
    "failed events are not sent again": case(
        somebody_listens, "events_announced", processes=("failed events are forgotten",)
    ),
    "an answer of the provider counts each time": case(
        answered_twice, "ledger_zero", changes=rows.SETTLE_AGAIN
    ),
    "goods leave the shelf twice": case(
        in_peace, "stock_conserved", "no_oversell", changes=rows.GOODS_LEAVE_TWICE, unchecked=True
    ),
    "goods leave the shelf twice, with papers": case(
        in_peace, "stock_conserved", "no_oversell", changes=rows.GOODS_LEAVE_TWICE_WITH_PAPERS, unchecked=True
    ),
    "the provider gets fresh keys": case(
        in_peace, "provider_books", processes=("fresh keys for the provider",)
    ),
    "sessions live in a worker's memory": case(
        worker_killed, "sessions_kept", "own_writes_read", processes=("sessions in memory",)
    ),
    "reads come from a standby that lags": case(
        standby_lags, "own_writes_read", "stock_linearizable", processes=("stale reads",)
    ),
    "the gateway does not send again": case(
        worker_killed, "promised_answers", processes=("gateway without retries",), roles=("worker", "gateway")
    ),
    "a failover takes its time": case(
        primary_killed, "recovered_in_time", processes=("late failover",), roles=("gateway", "supervisor")
    ),
    "commits do not wait": case(
        primary_killed_with_wal_held_back, "acknowledged_once", "stock_linearizable",
        processes=("asynchronous commits",), roles=("worker", "supervisor"),
    ),
    "a primary is replaced and not fenced": case(
        primary_cut_off, "acknowledged_once",
        processes=("no fence", "old primary kept", "asynchronous commits"), roles=("worker", "supervisor"),
    ),
}  # fmt: skip


def failed(evidence: Evidence) -> dict[str, Verdict]:
    verdicts = {name: checker.check(evidence) for name, checker in CHECKERS.items()}
    return {name: verdict for name, verdict in verdicts.items() if not verdict.ok}


UNBROKEN: dict[str, Play] = {
    play.__name__: play
    for play in (
        answered_twice,
        without_patience,
        worker_killed,
        somebody_listens,
        standby_lags,
        primary_killed_with_wal_held_back,
        primary_cut_off,
    )
}
"""Every play that a broken shop is caught in, or one that asks more."""


@pytest.mark.parametrize("name", UNBROKEN)
def test_an_unbroken_shop_contents_every_checker(scene: Scene, name: str) -> None:
    scene.mutate(roles=())
    scene.clear()
    evidence = UNBROKEN[name](scene)
    assert failed(evidence) == {}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_shop_is_caught(scene: Scene, name: str) -> None:
    case = CASES[name]
    scene.mutate(*case.processes, roles=case.roles)
    scene.clear()
    with case.broken(scene):
        evidence = case.play(scene)
    caught = failed(evidence)
    print(name, {checker: verdict.detail for checker, verdict in caught.items()})
    assert case.caught_by <= caught.keys(), {
        checker: CHECKERS[checker].check(evidence).detail for checker in case.caught_by - caught.keys()
    }


def test_every_checker_has_a_broken_shop_that_it_catches() -> None:
    assert {checker for case in CASES.values() for checker in case.caught_by} == set(CHECKERS)


def test_the_product_has_no_switch_for_any_of_this() -> None:
    import everopen

    (folder,) = everopen.__path__
    for path, _, files in os.walk(folder):
        for file in files:
            if file.endswith((".py", ".sql")):
                with open(os.path.join(path, file), encoding="utf-8") as text:
                    assert "DRILL_MUTATIONS" not in text.read()
