"""Which payment is asked for next, so that a slow provider can't hold everybody's askers. Pure bookkeeping.

Each provider has a queue, and the queues take turns. An asker whose call lasts is *relieved*: another asker starts in its
place, and it ends after its call. A provider may have so many relieved calls; when it has them, its further calls may hold
half of the askers and the other half stays free for the others. (Askers per provider were turned down: they are idle where
one provider has all the work, which is nearly always.)"""

from __future__ import annotations

from collections import Counter, deque

from everopen.trading.payments.asking import Intent


class Call:
    """A call under way."""

    __slots__ = ("provider", "relieved", "since_s")

    def __init__(self, provider: str, since_s: float) -> None:
        self.provider = provider
        self.since_s = since_s
        self.relieved = False


class AskingQueue:
    """The payments that a worker has yet to ask for, and the calls that it makes."""

    def __init__(self, askers: int, slow_max: int) -> None:
        self._share = max(1, askers // 2)
        self._slow_max = slow_max
        self._waiting: dict[str, deque[Intent]] = {}
        self._turns: deque[str] = deque()
        self._count = 0
        self.calls: set[Call] = set()
        self._quick: Counter[str] = Counter()
        self._slow: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._count

    def put(self, intent: Intent) -> None:
        """Appends a payment to its provider's queue."""
        waiting = self._waiting.get(intent.provider)
        if waiting is None:
            waiting = self._waiting[intent.provider] = deque()
        if not waiting:
            self._turns.append(intent.provider)
        waiting.append(intent)
        self._count += 1

    def clear(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()
        self._turns.clear()
        self._count = 0

    def full(self) -> list[str]:
        """The providers that may not be asked for more at the moment."""
        return [provider for provider in self._turns if self._is_full(provider)]

    def _is_full(self, provider: str) -> bool:
        return self._slow[provider] >= self._slow_max and self._quick[provider] >= self._share

    def take(self, now_s: float) -> tuple[Intent, Call] | None:
        """The next payment and its call; None when nothing waits that may be asked for now."""
        for _ in range(len(self._turns)):
            provider = self._turns.popleft()
            if self._is_full(provider):
                self._turns.append(provider)
                continue
            waiting = self._waiting[provider]
            intent = waiting.popleft()
            self._count -= 1
            if waiting:
                self._turns.append(provider)
            call = Call(provider, now_s)
            self.calls.add(call)
            self._quick[provider] += 1
            return intent, call
        return None

    def done(self, call: Call) -> None:
        """The call has ended."""
        self.calls.discard(call)
        (self._slow if call.relieved else self._quick)[call.provider] -= 1

    def relieve(self, now_s: float, slow_s: float) -> int:
        """Marks the calls that last too long as relieved; how many, and so many askers are to be started."""
        relieved = 0
        for call in self.calls:
            if (
                not call.relieved
                and now_s - call.since_s >= slow_s
                and self._slow[call.provider] < self._slow_max
            ):
                call.relieved = True
                self._quick[call.provider] -= 1
                self._slow[call.provider] += 1
                relieved += 1
        return relieved
