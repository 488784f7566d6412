"""Payments of a slow provider must not hold up those of a fast one."""

from __future__ import annotations

from everopen.base.ids import uuid7
from everopen.trading.payments import Movement
from everopen.trading.payments.asking import Intent
from everopen.trading.payments.queue import AskingQueue, Call


def payment(provider: str) -> Intent:
    movement = Movement(uuid7(), uuid7(), 1, "GBP", "tok")
    return Intent(movement, "charge", provider, "placed", 0, 0.0, 1e9)


def filled(queue: AskingQueue, **counts: int) -> AskingQueue:
    for provider, count in counts.items():
        for _ in range(count):
            queue.put(payment(provider))
    return queue


def taken(queue: AskingQueue, now_s: float = 0.0) -> Call:
    found = queue.take(now_s)
    assert found is not None
    return found[1]


def test_providers_take_turns_however_many_one_has() -> None:
    queue = filled(AskingQueue(8, 4), one=5, two=2)
    assert [taken(queue).provider for _ in range(7)] == ["one", "two", "one", "two", "one", "one", "one"]
    assert queue.take(0.0) is None
    assert len(queue) == 0


def test_a_slow_provider_has_its_slow_calls_and_then_half_of_the_askers() -> None:
    askers, slow_max = 4, 3
    queue = filled(AskingQueue(askers, slow_max), slow=50, fast=50)
    free = askers
    now_s = 0.0
    under_way: list[Call] = []
    for _ in range(100):
        while free > 0:
            call = taken(queue, now_s)
            if call.provider == "fast":
                queue.done(call)
            else:
                free -= 1
                under_way.append(call)
            if queue.full() == ["slow"] and len(under_way) == slow_max + askers // 2:
                break
        now_s += 1.0
        free += queue.relieve(now_s, 0.5)
        if queue.full():
            break
    assert len(under_way) == slow_max + askers // 2
    assert free == askers // 2, "the other half is there for the others"
    assert taken(queue, now_s).provider == "fast"


def test_a_slow_call_that_ended_makes_room() -> None:
    queue = filled(AskingQueue(2, 1), slow=5)
    first, second = taken(queue), taken(queue)
    assert queue.relieve(1.0, 0.5) == 1
    assert queue.take(1.0) is None
    queue.done(first)
    queue.done(second)
    assert queue.full() == []
    assert taken(queue).provider == "slow"
    queue.clear()
    assert queue.take(0.0) is None
