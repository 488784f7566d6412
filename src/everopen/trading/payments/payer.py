"""The payer follows every payment to its end.

Orders placed in this worker come straight from memory (their rows carry a lease, so nobody else asks meanwhile); what
nobody follows any more - the worker died, the queue was full, the answer was lost - is claimed from the database when
its lease ends. The provider is called outside of any transaction, by a few askers at a time, which pause while orders
come in a rush: a payment that waits some seconds loses nothing, an order that waits is a customer who leaves. A call that
lasts is relieved (see `queue.py`), so a slow provider does not hold up the others. Outcomes gather and are settled together.

A settlement waits for the standby like any other commit. It did not at first: what a failover took back was asked for
again under the same key and answered the same. But `paid` is told to customers, subscribers and the invoice's number, and
between a settlement that fell back and the one that repeats it a customer may cancel what she was told is paid. One commit
settles a group, and groups gather longer while orders come in a rush, so a hot stock row is held for fewer of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from everopen.base.clock import Clock, Rng
from everopen.base.errors import StoreUnavailable
from everopen.store import Primary, load_statements
from everopen.store.primary import Connection
from everopen.trading.orders import OrderRequest, PlacedOrder
from everopen.trading.payments.asking import Intent, news, outcome, pause_s, question
from everopen.trading.payments.provider import Answer, Movement, Provider, ProviderSilent, Reply
from everopen.trading.payments.queue import AskingQueue
from everopen.trading.settings import TradingSettings

SQL = load_statements("everopen.trading", "payments.sql")
log = logging.getLogger(__name__)


class Payer:
    """The payments of one worker."""

    def __init__(
        self,
        settings: TradingSettings,
        primary: Primary,
        providers: Mapping[str, Provider],
        *,
        clock: Clock,
        rng: Rng,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._primary = primary
        self._providers = providers
        self._clock = clock
        self._rng = rng
        self._busy = busy
        self._queue = AskingQueue(settings.payer_concurrency, settings.payer_slow_calls)
        self._settled: list[tuple[UUID, str, str]] = []
        self._later: list[tuple[UUID, float, str]] = []
        self._work = asyncio.Event()
        self._done = asyncio.Event()
        self._hungry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._askers: set[asyncio.Task[None]] = set()
        self._looks = asyncio.Semaphore(settings.payer_concurrency)
        self._stopping = False
        self.counters = {"payments_asked_total": 0, "payments_settled_total": 0, "payments_unknown_total": 0}
        self.counters |= {"payments_claimed_total": 0, "payments_left_total": 0}
        self.counters |= {"payments_slow_total": 0, "payments_notices_total": 0}

    @property
    def waiting(self) -> int:
        """Payments in memory that were not asked yet."""
        return len(self._queue)

    async def start(self) -> None:
        """Starts to ask and to settle; returns at once."""
        self._link = self._primary.link("payer")
        for _ in range(self._settings.payer_concurrency):
            self._start_asker()
        self._tasks = [asyncio.create_task(work) for work in (self._settle(), self._claim(), self._relieve())]

    def _start_asker(self) -> None:
        task = asyncio.create_task(self._ask())
        self._askers.add(task)
        task.add_done_callback(self._askers.discard)

    async def stop(self, grace_s: float = 2.0) -> None:
        """Settles what was answered. What was not asked stays in the database, and another worker takes it up."""
        self._stopping = True
        self._queue.clear()
        self._work.set()
        self._done.set()
        self._hungry.set()
        everyone = [*self._askers, *self._tasks]
        if everyone:
            await asyncio.wait(everyone, timeout=grace_s)
        for task in everyone:
            task.cancel()
        await asyncio.gather(*everyone, return_exceptions=True)

    def follow(self, placed: Sequence[tuple[OrderRequest, PlacedOrder]]) -> None:
        """Takes up the payments of orders that this worker just placed."""
        until_s = self._until_s()
        for request, order in placed:
            if len(self._queue) >= self._settings.payer_queue_max:
                self.counters["payments_left_total"] += 1
                continue  # its lease ends, and then it is claimed
            hold = request.capture == "manual"
            movement = Movement(order.id, order.id, order.total, order.currency, request.token, hold=hold)
            kind = "authorise" if hold else "charge"
            self._queue.put(Intent(movement, kind, request.provider, "placed", 0, 0.0, until_s))
        self._work.set()

    def _until_s(self) -> float:
        """A call that begins before this ends before the lease does."""
        return self._clock.monotonic_s() + max(
            0.0, self._settings.payer_lease_s - self._settings.payer_timeout_s - 1.0
        )

    async def _ask(self) -> None:
        while not self._stopping:
            if self._busy() and self._queue:
                await asyncio.sleep(self._settings.payer_yield_ms / 1000)
            taken = self._queue.take(self._clock.monotonic_s())
            if taken is None:
                self._hungry.set()
                self._work.clear()
                await self._work.wait()
                continue
            intent, call = taken
            try:
                if call.since_s >= intent.until_s:
                    self.counters["payments_left_total"] += 1
                    continue
                await self._carry_out(intent)
            finally:
                self._queue.done(call)
                if self._queue:
                    self._work.set()  # this provider's next one may be asked for now
            if call.relieved:
                return  # another asker took this one's place

    async def _carry_out(self, intent: Intent) -> None:
        reply = await self._reply(intent)
        result = outcome(reply.answer)
        if result is None:
            self.counters["payments_unknown_total"] += 1
            pause = pause_s(intent.attempts, self._settings.payer_retry_s_max, self._rng)
            self._later.append((intent.id, pause, reply.reference))
        else:
            self._settled.append((intent.id, result, reply.reference))
        self._done.set()

    async def _relieve(self) -> None:
        slow_s = self._settings.payer_slow_ms / 1000
        while not self._stopping:
            await asyncio.sleep(slow_s / 2)
            for _ in range(self._queue.relieve(self._clock.monotonic_s(), slow_s)):
                self.counters["payments_slow_total"] += 1
                self._start_asker()

    async def _reply(self, intent: Intent) -> Reply:
        provider = self._providers.get(intent.provider)
        if provider is None:
            log.error("Payment %s names provider %s, which is not set up.", intent.id, intent.provider)
            return Reply(Answer.UNKNOWN)
        self.counters["payments_asked_total"] += 1
        try:
            async with asyncio.timeout(self._settings.payer_timeout_s):
                match question(intent, self._settings.reservation_minutes * 60):
                    case "charge":
                        return await provider.charge(intent.movement)
                    case "authorise":
                        return await provider.authorise(intent.movement)
                    case "capture":
                        return await provider.capture(intent.movement)
                    case "void":
                        return await provider.void(intent.movement)
                    case "refund":
                        return await provider.refund(intent.movement)
                    case "withdraw":
                        return await provider.withdraw(intent.movement)
        except TimeoutError:
            return Reply(Answer.UNKNOWN)
        except (
            Exception
        ):  # a provider's own bug must not stop the others' payments; the money's fate is unknown
            log.exception("Provider %s failed.", intent.provider)
            return Reply(Answer.UNKNOWN)

    async def _settle(self) -> None:
        settings = self._settings
        while True:
            await self._done.wait()
            if not self._stopping:
                pause_ms = settings.payer_settle_busy_ms if self._busy() else settings.payer_settle_pause_ms
                await asyncio.sleep(pause_ms / 1000)
            self._done.clear()
            most = settings.payer_settle_max
            settled, self._settled = self._settled[:most], self._settled[most:]
            later, self._later = self._later[:most], self._later[most:]
            try:
                if settled:
                    await self._write(
                        SQL["settle_payments"], *(list(column) for column in zip(*settled, strict=True))
                    )
                    self.counters["payments_settled_total"] += len(settled)
                if later:
                    await self._write(
                        SQL["postpone_payments"], *(list(column) for column in zip(*later, strict=True))
                    )
            except StoreUnavailable:
                log.warning(
                    "%d payments could not be settled in time; they will be asked again.", len(settled)
                )
            except Exception:
                log.exception("%d payments could not be settled; they will be asked again.", len(settled))
            if self._settled or self._later:
                self._done.set()
            elif self._stopping and not self._askers:
                return
            elif self._stopping:
                await asyncio.sleep(0.01)
                self._done.set()

    async def _write(self, statement: str, *arguments: Any) -> None:
        await self._link.run(lambda connection: connection.execute(statement, *arguments))

    async def _claim(self) -> None:
        """Looks for payments that nobody follows, when the askers have time for them."""
        most = self._settings.payer_concurrency * 16
        while not self._stopping:
            found = 0
            await self._hungry.wait()
            if self._stopping:
                return
            try:
                found = await self._claim_some(most)
            except StoreUnavailable:
                pass
            except Exception:
                log.exception("Looking for payments failed.")
            if found == most:
                self._hungry.clear()
            else:
                await asyncio.sleep(self._settings.payer_poll_s * (0.75 + 0.5 * self._rng.random()))

    async def _claim_some(self, most: int) -> int:
        until_s = self._until_s()
        lease = timedelta(seconds=self._settings.payer_lease_s)
        full = self._queue.full()
        able = [name for name in self._providers if name not in full]
        rows: Any = await self._primary.run(
            lambda connection: connection.fetch(SQL["claim_payments"], most, lease, able), deadline_s=5.0
        )
        for row in rows:
            self._queue.put(
                Intent(
                    movement_of(row),
                    row["kind"],
                    row["provider"],
                    row["order_status"],
                    row["attempts"],
                    row["age_s"],
                    until_s,
                )
            )
        self.counters["payments_claimed_total"] += len(rows)
        if rows:
            self._work.set()
        return len(rows)

    async def hear(self, provider_name: str, payment_id: UUID, reference: str = "") -> str:
        """Follows up a provider's notification: asks the provider what is so, and settles that; returns one sentence. The
        notification itself is never believed, so forged, doubled, late and reordered ones do no harm. Raises ProviderSilent
        when it must be sent again, StoreUnavailable."""
        self.counters["payments_notices_total"] += 1
        row: Any = await self._primary.run(
            lambda connection: connection.fetchrow(SQL["find_payment"], payment_id), deadline_s=5.0
        )
        if row is None or row["provider"] != provider_name:
            return f"{payment_id} is no payment of ours at {provider_name}."
        reply = await self._look(row, reference)
        word = news(reply.answer)

        async def settle(connection: Connection) -> str:
            said = "is as it was"
            async with connection.transaction():
                if word is not None:
                    settled = "approved" if word == "approved" else "declined"
                    changed = await connection.fetchval(
                        SQL["settle_payments"], [payment_id], [settled], [reply.reference]
                    )
                    if changed or (
                        word != "approved"
                        and await connection.fetchval(SQL["overturn_payment"], payment_id, word)
                    ):
                        said = f"is {word}"
                await connection.execute(SQL["hurry_payments"], row["order_id"])
            return f"{row['kind']} {payment_id} {said}."

        said = await self._primary.run(settle, deadline_s=10.0)
        if word is None and row["status"] not in ("pending", "unknown") and reply.answer is Answer.UNKNOWN:
            raise ProviderSilent(f"{provider_name} did not say what became of {payment_id}.")
        return said

    async def _look(self, row: Any, reference: str) -> Reply:
        provider = self._providers.get(row["provider"])
        if provider is None:
            return Reply(Answer.UNKNOWN)
        movement = movement_of(row)
        if not movement.reference:
            movement = msgspec.structs.replace(movement, reference=reference)
        try:
            async with asyncio.timeout(self._settings.payer_timeout_s), self._looks:
                return await provider.look(row["kind"], movement)
        except TimeoutError:
            return Reply(Answer.UNKNOWN)


def movement_of(row: Any) -> Movement:
    """A row of `claim_payments` or `find_payment` as a movement."""
    return Movement(
        id=row["id"],
        charge_id=row["order_id"],
        amount=row["amount"],
        currency=row["currency"],
        token=row["token"],
        reference=row["provider_reference"] or "",
        charge_reference=row["charge_reference"] or "",
        hold=row["kind"] == "authorise",
        final=bool(row["final"]),
        age_s=row["age_s"],
    )
