"""Is a history of one stock register linearizable? A search, pure and specialised to a counter.

Each operation must seem to happen at one moment between its beginning and its end: a `take` where enough is there, a
`refused` where it is not, a `read` where exactly so much is there, a `give` anywhere. The search walks through the history's
ends and keeps every state that the register may be in, deciding as late as possible which of the pending operations have
happened: just in time before an end.

After J. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (1993), with G. Lowe's just-in-time order and memory
of configurations, "Testing for Linearizability" (2017). Three facts about counters keep what is exponential in general
small here: an observation that fits the present state is taken at once (it changes nothing); of pending takes of one size,
the one that ends first goes first (exchanging two changes nothing); and while nobody observes, a take that must be over
goes alone (whatever else is pending can wait). A general checker over an opaque model (Knossos, Porcupine) was turned down:
with some hundred orders under way in a failover it would not come back.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

NEVER = float("inf")
STATES_MAX = 20_000
"""States held or made at one end; beyond it the history stays undecided."""
DONE_MAX = 64
"""A state that remembers more than so many operations is tidied up."""


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on one register, by the client's clock."""

    kind: Literal["take", "refused", "read", "give"]
    n: int
    """How many were taken, refused or given; what was read."""
    begin: float
    end: float = NEVER
    """NEVER: the client did not learn when it was over."""
    certain: bool = True
    """False: it may never have happened (takes and gives whose answer was lost)."""
    left: int | None = None
    """refused: how many were left, where the answer said so."""
    label: str = ""

    @property
    def observes(self) -> bool:
        """Whether it changes nothing."""
        return self.kind in ("refused", "read")

    def fits(self, value: int) -> bool:
        """Whether it may happen at this value."""
        if self.kind == "read":
            return value == self.n
        if self.kind == "refused":
            return value < self.n and self.left in (None, value)
        return self.kind == "give" or value >= self.n

    def after(self, value: int) -> int:
        """The value after it."""
        return value - self.n if self.kind == "take" else value + self.n if self.kind == "give" else value

    def __str__(self) -> str:
        what = {"take": "took", "refused": "was refused", "read": "read", "give": "gave"}[self.kind]
        left = "" if self.left is None else f" ({self.left} left)"
        length = "never ended" if self.end == NEVER else f"{(self.end - self.begin) * 1000:.1f} ms"
        return f"{self.label or 'somebody'} {what} {self.n}{left} at {self.begin:.3f} ({length})"


class Judgement(msgspec.Struct, frozen=True):
    """`linearizable` None: undecided, too much at once."""

    linearizable: bool | None
    broken_by: Op | None = None
    """The operation at whose end no order of events was left."""
    values: tuple[int, ...] = ()
    """What the register may have held just before that."""


State = tuple[int, frozenset[int]]
"""The value, and which of the pending operations have happened."""


def judge(ops: Iterable[Op], initial: Iterable[int]) -> Judgement:
    """Whether the operations are linearizable from one of the initial values."""
    return _Search(sorted(ops, key=lambda op: op.begin)).run(initial)


class _TooMany(Exception):
    pass


class _Search:
    def __init__(self, ops: Sequence[Op]) -> None:
        self._ops = ops
        self._moves: dict[tuple[str, int], list[tuple[tuple[float, bool], int]]] = {}
        """Pending takes and gives of each size, (deadline, number), the one that ends first in front."""
        self._observers: dict[int, Op] = {}
        """Pending observations."""
        self._settled: set[int] = set()
        """Operations without an end that have happened in every state: nobody needs to remember them."""

    def run(self, initial: Iterable[int]) -> Judgement:
        states: set[State] = {(value, frozenset()) for value in initial}
        try:
            for number, begins in _moments(self._ops):
                op = self._ops[number]
                if begins:
                    self._begin(number, op)
                    if op.observes:
                        states = {self._absorb(state) for state in states}
                    continue
                if number in self._settled:
                    continue
                after = self._finish(states, number, op)
                if not after:
                    return Judgement(False, op, tuple(sorted({value for value, _ in states})[:10]))
                states = self._forget(after)
        except _TooMany:
            return Judgement(None)
        return Judgement(True)

    def _begin(self, number: int, op: Op) -> None:
        if op.observes:
            self._observers[number] = op
        else:
            bisect.insort(self._moves.setdefault((op.kind, op.n), []), (_deadline(op), number))

    def _finish(self, states: set[State], number: int, op: Op) -> set[State]:
        """The states in which the operation has happened."""
        after: set[State] = set()
        seen: set[State] = set()
        for state in states:
            if number in state[1]:
                after.add(state)
            else:
                self._reach(state, number, op, after, seen)
        if op.observes:
            del self._observers[number]
        else:
            self._moves[op.kind, op.n].remove((_deadline(op), number))
        return {(value, done - {number}) for value, done in after}

    def _forget(self, states: set[State]) -> set[State]:
        if len(next(iter(states))[1]) < DONE_MAX:
            return states
        common = frozenset.intersection(*(done for _, done in states))
        endless = {n for n in common if not self._ops[n].observes and _deadline(self._ops[n])[0] == NEVER}
        for number in endless:
            op = self._ops[number]
            self._moves[op.kind, op.n].remove((_deadline(op), number))
        self._settled |= endless
        return {(value, done - endless) for value, done in states} if endless else states

    def _reach(self, start: State, number: int, op: Op, after: set[State], seen: set[State]) -> None:
        stack = [start]
        while stack:
            state = stack.pop()
            if state in seen:
                continue
            seen.add(state)
            if len(seen) + len(after) > STATES_MAX:
                raise _TooMany
            value, done = state
            if not op.observes and op.fits(value) and self._observers.keys() <= done:
                after.add((op.after(value), done | {number}))
                continue
            for mover in self._candidates(done):
                other = self._ops[mover]
                if not other.fits(value):
                    continue
                reached = self._absorb((other.after(value), done | {mover}))
                if number in reached[1]:
                    after.add(reached)
                else:
                    stack.append(reached)

    def _candidates(self, done: frozenset[int]) -> Iterator[int]:
        """Of each kind and size, the pending operation that ends first."""
        for pending in self._moves.values():
            for _, number in pending:
                if number not in done:
                    yield number
                    break

    def _absorb(self, state: State) -> State:
        """Takes every pending observation that fits."""
        value, done = state
        fitting = [n for n, op in self._observers.items() if n not in done and op.fits(value)]
        return (value, done.union(fitting)) if fitting else state


def _deadline(op: Op) -> tuple[float, bool]:
    """What may never have happened goes last among its like."""
    return (op.end, False) if op.certain else (NEVER, True)


def _moments(ops: Sequence[Op]) -> Iterator[tuple[int, bool]]:
    """(number, whether it begins) in order of time; at the same time what begins comes first. Operations that certainly
    happened and never ended are over at the end of the history; uncertain ones never are."""
    moments = [(op.begin, 0, number) for number, op in enumerate(ops)]
    moments += [(op.end, 1, number) for number, op in enumerate(ops) if op.certain]
    moments.sort()
    for _, over, number in moments:
        yield number, not over
