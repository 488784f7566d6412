"""Batches: questions that arrive while a call is under way go together in the next one.

The same idea as the lanes of orders, for everything that is smaller than an order: a cart is filled, a session is looked
up. An idle batch asks at once; under load one round trip (and one commit) serves all who came meanwhile. Nothing waits
on a timer.

Each kind of question has a connection of its own, which plans its statements once: a plan made anew for each group costs
several times what the group does (measured), and a visitor's cart does not queue behind a search of staff."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from everopen.base.errors import StoreUnavailable
from everopen.store import Link, Primary
from everopen.store.primary import Connection

PROBES = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
}
"""One plan per statement for good, and one index probe per element: a plan that is made while a table is small must not read
the whole of it later on (see place_orders)."""
Q = TypeVar("Q")
A = TypeVar("A")


class Batch(Generic[Q, A]):
    """One kind of question. `ask` answers a group in its order and may run again after a lost connection, so its
    questions are reads or carry keys. Two questions that are equal under `apart` never go in one group."""

    def __init__(
        self,
        primary: Primary,
        name: str,
        ask: Callable[[Connection, Sequence[Q]], Awaitable[Sequence[A]]],
        *,
        most: int = 200,
        apart: Callable[[Q], Sequence[Hashable]] = lambda _: (),
    ) -> None:
        self._primary = primary
        self._name = name
        self._link: Link | None = None
        self._ask = ask
        self._most = most
        self._apart = apart
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer. Raises StoreUnavailable when no primary answered in time (a write may then have happened), or what
        the database said against this one question."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="batch")
        return await future

    async def close(self) -> None:
        """Ends; who still waits is told that the worker is ending."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._waiting:
            _fail(self._waiting.popleft()[1], StoreUnavailable("The worker is ending."))

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._take())
        finally:
            self._task = None

    def _take(self) -> list[tuple[Q, asyncio.Future[A]]]:
        group: list[tuple[Q, asyncio.Future[A]]] = []
        taken: set[Hashable] = set()
        later: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(group) < self._most:
            entry = self._waiting.popleft()
            if entry[1].done():
                continue  # its asker is gone
            marks = self._apart(entry[0])
            if taken.isdisjoint(marks):
                group.append(entry)
            else:
                later.append(entry)
            taken.update(marks)  # also of one that waits: those after it in line stay after it
        self._waiting.extendleft(reversed(later))
        return group

    async def _answer(self, group: list[tuple[Q, asyncio.Future[A]]]) -> None:
        if not group:
            return
        questions = [question for question, _ in group]
        try:
            if self._link is None:
                self._link = self._primary.link(self._name, **PROBES)
            answers = await self._link.run(lambda connection: self._ask(connection, questions))
        except asyncio.CancelledError:
            for _, future in group:
                _fail(future, StoreUnavailable("The worker is ending."))
            raise
        except Exception as error:
            if len(group) == 1 or isinstance(error, StoreUnavailable):
                for _, future in group:
                    _fail(future, error)
                return
            for entry in group:  # so that what the database can't take fails alone
                await self._answer([entry])
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _fail(future: asyncio.Future[A], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
