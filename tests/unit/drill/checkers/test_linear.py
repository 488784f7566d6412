"""The register checker against hand-made histories, and against a checker that simply tries every order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everopen.drill.linear import NEVER, Op, judge


def take(begin: float, end: float = NEVER, n: int = 1, *, certain: bool = True) -> Op:
    return Op(kind="take", n=n, begin=begin, end=end, certain=certain)


def refused(begin: float, end: float, n: int = 1, left: int | None = None) -> Op:
    return Op(kind="refused", n=n, begin=begin, end=end, left=left)


def read(begin: float, end: float, value: int) -> Op:
    return Op(kind="read", n=value, begin=begin, end=end)


def give(begin: float, end: float = NEVER, n: int = 1, *, certain: bool = True) -> Op:
    return Op(kind="give", n=n, begin=begin, end=end, certain=certain)


GOOD: dict[str, tuple[int, list[Op]]] = {
    "nothing happened": (5, []),
    "a read after a take sees it": (5, [take(0, 1), read(2, 3, 4)]),
    "a read beside a take may see it": (5, [take(0, 3), read(1, 2, 4)]),
    "a read beside a take may not see it": (5, [take(0, 3), read(1, 2, 5)]),
    "two reads beside a take see it in order": (5, [take(0, 9), read(1, 2, 5), read(3, 4, 4)]),
    "the last one is sold and the next refused": (1, [take(0, 1), refused(2, 3, left=0)]),
    "a refusal beside the sale of the last one": (1, [take(0, 3), refused(1, 2)]),
    "a large order is refused where a small one fits": (2, [refused(0, 1, n=3, left=2), take(2, 3, n=2)]),
    "an order without an answer happened": (2, [take(0, certain=False), read(2, 3, 1)]),
    "an order without an answer never happened": (2, [take(0, certain=False), read(2, 3, 2)]),
    "an order without an answer happened late": (
        2,
        [take(0, certain=False), read(2, 3, 2), read(4, 5, 1)],
    ),
    "what was given back is sold again": (1, [take(0, 1), give(0), take(2, 3)]),
    "between two sizes there is one read": (
        9,
        [take(0, 9, n=2), take(0, 9, n=3), read(0, 9, 7), read(0, 9, 4)],
    ),
    "all at once": (3, [*(take(0, 9) for _ in range(3)), *(refused(0, 9) for _ in range(40))]),
}
BAD: dict[str, tuple[int, list[Op]]] = {
    "more is sold than there was": (1, [take(0, 1), take(2, 3)]),
    "more is sold than there was, all at once": (3, [take(0, 9) for _ in range(4)]),
    "a read after a take does not see it": (5, [take(0, 1), read(2, 3, 5)]),
    "a read after a read goes back": (5, [take(0, 9), read(1, 2, 4), read(3, 4, 5)]),
    "two reads beside two sizes that no order explains": (
        9,
        [take(0, 9, n=2), take(0, 9, n=3), read(0, 9, 7), read(0, 9, 6)],
    ),
    "refused although there was one": (2, [take(0, 1), refused(2, 3)]),
    "refused with a number that never was": (2, [take(0, 1, n=2), refused(2, 3, left=1)]),
    "a read of what nobody left": (5, [take(0, certain=False), read(2, 3, 3)]),
    "sold again before it was given back": (1, [take(0, 1), take(2, 3), give(4)]),
    "a certain order leaves no trace": (2, [take(0), read(2, 3, 2), Op(kind="read", n=2, begin=9, end=NEVER), refused(8, 9, n=2, left=0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_some_order_explains_is_accepted(name: str) -> None:
    initial, ops = GOOD[name]
    assert judge(ops, [initial]).linearizable is True
    assert possible(ops, initial)


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_no_order_explains_is_refused_and_says_where(name: str) -> None:
    initial, ops = BAD[name]
    judgement = judge(ops, [initial])
    assert judgement.linearizable is False
    assert judgement.broken_by in ops
    assert not possible(ops, initial)


def test_an_unknown_beginning_is_found_out_by_what_was_read() -> None:
    assert judge([take(0, 1), read(2, 3, 4)], range(100)).linearizable is True
    assert judge([take(0, 1), read(2, 3, 4), read(4, 5, 3)], range(100)).linearizable is False


def test_hundreds_of_orders_that_hang_at_once_are_decided() -> None:
    hanging = [take(number / 1000, 50 + number / 1000) for number in range(600)]
    reads = [read(10 + number, 10.5 + number, 1000 - 30 * number) for number in range(20)]
    assert judge([*hanging, *reads], [1000]).linearizable is True
    assert judge([*hanging, *reads, read(40, 41, 1000)], [1000]).linearizable is False


def test_a_long_history_with_answers_that_never_came_is_decided() -> None:
    ops: list[Op] = []
    for number in range(3000):
        ops.append(take(number, number + 1.5))
        if number % 10 == 0:
            ops.append(take(number, certain=False))
            ops.append(give(number, certain=False))
    assert judge(ops, [3000]).linearizable is True
    assert judge(ops, [2000]).linearizable is False


def possible(ops: Sequence[Op], initial: int) -> bool:
    """Tries every order: the definition itself, for short histories."""

    def go(left: tuple[int, ...], value: int) -> bool:
        if all(not ops[n].certain for n in left):
            return True
        first_end = min(_end(ops[n]) for n in left)
        return any(
            go(tuple(m for m in left if m != n), ops[n].after(value))
            for n in left
            if ops[n].begin <= first_end and ops[n].fits(value)
        )

    return go(tuple(range(len(ops))), initial)


def _end(op: Op) -> float:
    return op.end if op.certain else NEVER


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Op]]:
    initial = draw(st.integers(0, 4))
    ops = []
    for _ in range(draw(st.integers(0, 7))):
        begin = draw(st.integers(0, 12))
        end = begin + draw(st.integers(0, 8)) + 0.5
        kind = draw(st.sampled_from(["take", "take", "refused", "read", "give"]))
        n = draw(st.integers(0 if kind == "read" else 1, 4 if kind == "read" else 2))
        certain, left = True, None
        if kind in ("take", "give") and draw(st.booleans()) and draw(st.booleans()):
            end, certain = NEVER, draw(st.booleans())
        if kind == "refused" and draw(st.booleans()):
            left = draw(st.integers(0, 2))
        ops.append(
            Op(kind=kind, n=n, begin=begin, end=end, certain=certain, left=left)  # type: ignore[arg-type]
        )
    return initial, ops


@settings(max_examples=600, deadline=None)
@given(histories())
def test_it_says_what_trying_every_order_says(history: tuple[int, list[Op]]) -> None:
    initial, ops = history
    assert judge(ops, [initial]).linearizable is possible(ops, initial)


@st.composite
def played(draw: st.DrawFn) -> tuple[int, list[Op]]:
    """What a correct register does under random clients: linearizable by construction."""
    value = initial = draw(st.integers(0, 12))
    moments = sorted(draw(st.lists(st.floats(0, 20), min_size=0, max_size=40, unique=True)))
    ops: list[Op] = []
    for at in moments:
        begin, end = at - draw(st.floats(0, 6)), at + draw(st.floats(0, 6))
        kind = draw(st.sampled_from(["order", "order", "read", "give"]))
        n = draw(st.integers(1, 3))
        if kind == "read":
            ops.append(read(begin, end, value))
        elif kind == "give":
            ops.append(give(begin, end, n))
            value += n
        elif value >= n:
            lost = draw(st.integers(0, 9)) == 0
            ops.append(take(begin, NEVER if lost else end, n, certain=not lost))
            value -= n
        else:
            ops.append(refused(begin, end, n, value))
    return initial, ops


@settings(max_examples=200, deadline=None)
@given(played())
def test_what_a_correct_register_did_is_always_accepted(history: tuple[int, list[Op]]) -> None:
    initial, ops = history
    assert judge(ops, [initial]).linearizable is True


@settings(max_examples=100, deadline=None)
@given(played())
def test_a_sale_beyond_the_stock_is_always_seen(history: tuple[int, list[Op]]) -> None:
    initial, ops = history
    total = initial + sum(op.n for op in ops if op.kind == "give")
    oversold = [*ops, *(take(100 + n, 100.5 + n) for n in range(total + 1))]
    assert judge(oversold, [initial]).linearizable is False
