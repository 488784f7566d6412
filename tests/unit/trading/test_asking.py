"""What a provider is asked, and what its reply means."""

from __future__ import annotations

import random

import pytest

from everopen.base.ids import uuid7
from everopen.trading.payments import Answer, Movement
from everopen.trading.payments.asking import Intent, news, outcome, pause_s, question
from everopen.trading.payments.sandbox import read_reply


@pytest.mark.parametrize(
    ("kind", "order_status", "age_s", "asked"),
    [
        ("charge", "placed", 0.0, "charge"),
        ("charge", "placed", 1799.0, "charge"),
        ("charge", "placed", 1801.0, "withdraw"),
        ("charge", "cancelled", 0.0, "withdraw"),
        ("refund", "paid", 9999.0, "refund"),
        ("refund", "cancelled", 0.0, "refund"),
        ("authorise", "placed", 0.0, "authorise"),
        ("authorise", "placed", 1801.0, "withdraw"),
        ("authorise", "cancelled", 0.0, "withdraw"),
        ("capture", "authorised", 9999.0, "capture"),
        ("void", "cancelled", 0.0, "void"),
    ],
)
def test_a_charge_is_only_asked_for_while_its_order_can_use_it(
    kind: str, order_status: str, age_s: float, asked: str
) -> None:
    movement = Movement(uuid7(), uuid7(), 1, "GBP", "tok")
    assert question(Intent(movement, kind, "sandbox", order_status, 0, age_s, 0.0), 1800.0) == asked


def test_only_a_clear_answer_settles() -> None:
    assert {answer: outcome(answer) for answer in Answer} == {
        Answer.APPROVED: "approved",
        Answer.DECLINED: "declined",
        Answer.ABSENT: "declined",
        Answer.LAPSED: "declined",
        Answer.UNKNOWN: None,
    }


def test_a_look_that_finds_nothing_settles_nothing() -> None:
    """What is not there yet may be on its way; only a withdrawal makes sure."""
    assert {answer: news(answer) for answer in Answer} == {
        Answer.APPROVED: "approved",
        Answer.DECLINED: "declined",
        Answer.LAPSED: "lapsed",
        Answer.ABSENT: None,
        Answer.UNKNOWN: None,
    }


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, {"status": "approved", "id": "x"}, Answer.APPROVED),
        (200, {"status": "declined"}, Answer.DECLINED),
        (404, {"error": "no"}, Answer.ABSENT),
        (200, {"status": "strange"}, Answer.UNKNOWN),
        (200, None, Answer.UNKNOWN),
        (500, {"status": "approved"}, Answer.UNKNOWN),
        (422, {"error": "bad"}, Answer.UNKNOWN),
    ],
)
def test_whatever_is_not_clear_is_unknown(status: int, body: object, answer: Answer) -> None:
    assert read_reply(status, body).answer is answer


def test_pauses_double_up_to_the_longest_and_differ() -> None:
    rng = random.Random(1)
    pauses = [pause_s(attempt, 60.0, rng) for attempt in range(40)]
    assert 0.3 < pauses[0] < 0.7
    assert max(pauses) <= 60.0 * 1.25
    assert min(pauses[10:]) >= 60.0 * 0.75
    assert len(set(pauses)) == len(pauses)
