"""The payer follows every payment to its end.

Orders placed in this worker come straight from memory (their rows carry a lease, so nobody else asks meanwhile); what
nobody follows any more - the worker died, the queue was full, the answer was lost - is claimed from the database when
its lease ends. The provider is called outside of any transaction, by a few askers at a time, which pause while orders
come in a rush: a payment that waits some seconds loses nothing, an order that waits is a customer who leaves. Outcomes gather and are settled together.

A settlement commits asynchronously (`synchronous_commit=off`), on purpose: it repeats what the provider's books say. If
a failover takes it back, the intent is pending again, the provider is asked under the same key and answers the same.
So it holds a hot stock row for a moment only, instead of for a round trip to the standby."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from everopen.base.clock import Clock, Rng
from everopen.base.errors import StoreUnavailable
from everopen.store import Primary, load_statements
from everopen.trading.orders import OrderRequest, PlacedOrder
from everopen.trading.payments.asking import Intent, outcome, pause_s, question
from everopen.trading.payments.provider import Answer, Movement, Provider, Reply
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
        self._queue: deque[Intent] = deque()
        self._settled: list[tuple[UUID, str, str]] = []
        self._later: list[tuple[UUID, float]] = []
        self._work = asyncio.Event()
        self._done = asyncio.Event()
        self._hungry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._askers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.counters = {"payments_asked_total": 0, "payments_settled_total": 0, "payments_unknown_total": 0}
        self.counters |= {"payments_claimed_total": 0, "payments_left_total": 0}

    @property
    def waiting(self) -> int:
        """Payments in memory that were not asked yet."""
        return len(self._queue)

    async def start(self) -> None:
        """Starts to ask and to settle; returns at once."""
        self._link = self._primary.link("payer", synchronous_commit="off")
        self._askers = [asyncio.create_task(self._ask()) for _ in range(self._settings.payer_concurrency)]
        self._tasks = [asyncio.create_task(self._settle()), asyncio.create_task(self._claim())]

    async def stop(self, grace_s: float = 2.0) -> None:
        """Settles what was answered. What was not asked stays in the database, and another worker takes it up."""
        self._stopping = True
        self._queue.clear()
        self._work.set()
        self._done.set()
        self._hungry.set()
        everyone = self._askers + self._tasks
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
            movement = Movement(order.id, order.id, order.total, order.currency, request.token)
            kind = "charge" if request.capture == "automatic" else "authorise"
            self._queue.append(Intent(movement, kind, request.provider, "placed", 0, 0.0, until_s))
        self._work.set()

    def _until_s(self) -> float:
        """A call that begins before this ends before the lease does."""
        return self._clock.monotonic_s() + max(
            0.0, self._settings.payer_lease_s - self._settings.payer_timeout_s - 1.0
        )

    async def _ask(self) -> None:
        while not self._stopping:
            if not self._queue:
                self._hungry.set()
                self._work.clear()
                await self._work.wait()
                continue
            if self._busy():
                await asyncio.sleep(self._settings.payer_yield_ms / 1000)
                if not self._queue:
                    continue
            intent = self._queue.popleft()
            if self._clock.monotonic_s() >= intent.until_s:
                self.counters["payments_left_total"] += 1
                continue
            reply = await self._reply(intent)
            result = outcome(reply.answer)
            if result is None:
                self.counters["payments_unknown_total"] += 1
                self._later.append(
                    (intent.id, pause_s(intent.attempts, self._settings.payer_retry_s_max, self._rng))
                )
            else:
                self._settled.append((intent.id, result, reply.reference))
            self._done.set()

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
        while True:
            await self._done.wait()
            if not self._stopping:
                await asyncio.sleep(self._settings.payer_settle_pause_ms / 1000)
            self._done.clear()
            most = self._settings.payer_settle_max
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
            elif self._stopping and all(task.done() for task in self._askers):
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
        rows: Any = await self._primary.run(
            lambda connection: connection.fetch(SQL["claim_payments"], most, lease), deadline_s=5.0
        )
        for row in rows:
            movement = Movement(row["id"], row["order_id"], row["amount"], row["currency"], row["token"])
            self._queue.append(
                Intent(
                    movement,
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
