"""Stripe through a bad day: lost answers, 409, 429, 500, keys that are forgotten; against a server that speaks its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from everopen.base.ids import uuid7
from everopen.trading.payments import Answer, Movement, Setup
from everopen.trading.payments.stripe import KEY_LIFE_S, StripeProvider
from tests.support.providers import stripe_bench_setup
from tests.support.stripe_server import RunningStripe, StripeServer, running_stripe

CREATE, CONFIRM = "/v1/payment_intents", "/confirm"


@pytest.fixture
def server() -> Iterator[RunningStripe]:
    with running_stripe() as running:
        yield running


@asynccontextmanager
async def opened(server: RunningStripe, *, timeout_s: float = 2.0) -> AsyncIterator[StripeProvider]:
    setup: Setup = stripe_bench_setup(server)
    assert setup.stripe is not None
    provider = StripeProvider(setup.stripe, timeout_s)
    try:
        yield provider
    finally:
        await provider.close()


def payment(token: str = "pm_card_visa", **facts: object) -> Movement:
    new = uuid7()
    return Movement(new, new, 500, "GBP", token, **facts)  # type: ignore[arg-type]


def taken(books: StripeServer) -> list[int]:
    """What was captured, one entry per movement."""
    return [row["amount"] for row in books.balance if row["type"] == "charge"]


@pytest.mark.parametrize("fault", [409, 429, 500, 503, "lost"])
@pytest.mark.parametrize("place", [CREATE, CONFIRM])
def test_whatever_goes_wrong_is_unknown_and_asked_again_charges_once(
    server: RunningStripe, place: str, fault: int | str
) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            charge = payment()
            server.books.faults.append((place, fault))
            reply = await provider.charge(charge)
            assert reply.answer is Answer.UNKNOWN
            if place == CONFIRM:
                assert reply.reference.startswith("pi_"), "its name is known before money can move"
            again = msgspec.structs.replace(charge, reference=reply.reference, age_s=300.0)
            answer = (await provider.charge(again)).answer
            if (place, fault) in ((CREATE, 500), (CREATE, 503)):
                # Stripe repeats that answer for a day; nothing was made, and withdrawing is safe.
                assert answer is Answer.UNKNOWN
                assert (await provider.withdraw(again)).answer is Answer.ABSENT
                assert taken(server.books) == []
            else:
                assert answer is Answer.APPROVED
                assert taken(server.books) == [500]

    asyncio.run(scenario())


def test_a_key_that_stripe_has_forgotten_is_not_used_for_a_second_charge(server: RunningStripe) -> None:
    """After a day the payment is looked for by its metadata instead."""

    async def scenario() -> None:
        async with opened(server) as provider:
            charge = payment("pm_lost")
            assert (await provider.charge(charge)).answer is Answer.UNKNOWN
            never = payment()
            server.books.keys.clear()
            old = {"age_s": KEY_LIFE_S + 1}
            assert (await provider.charge(msgspec.structs.replace(charge, **old))).answer is Answer.APPROVED
            assert (await provider.charge(msgspec.structs.replace(never, **old))).answer is Answer.ABSENT
            assert (await provider.withdraw(msgspec.structs.replace(never, **old))).answer is Answer.ABSENT
            assert taken(server.books) == [500]
            assert len(server.books.intents) == 1

    asyncio.run(scenario())


def test_a_refund_whose_key_is_forgotten_is_found_in_the_list(server: RunningStripe) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            paid = await provider.charge(payment())
            new = uuid7()
            refund = Movement(new, new, 300, "GBP", "", charge_reference=paid.reference)
            server.books.faults.append(("/v1/refunds", "lost"))
            assert (await provider.refund(refund)).answer is Answer.UNKNOWN
            server.books.keys.clear()
            late = msgspec.structs.replace(refund, age_s=KEY_LIFE_S + 1)
            assert (await provider.refund(late)).answer is Answer.APPROVED
            assert [one["amount"] for one in server.books.refunds.values()] == [300]

    asyncio.run(scenario())


def test_a_pending_refund_is_unknown_until_stripe_says_more(server: RunningStripe) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            paid = await provider.charge(payment("pm_card_pendingRefund"))
            new = uuid7()
            refund = Movement(new, new, 300, "GBP", "", charge_reference=paid.reference)
            reply = await provider.refund(refund)
            assert (reply.answer, reply.reference[:3]) == (Answer.UNKNOWN, "re_")
            server.books.refunds[reply.reference]["status"] = "succeeded"
            known = msgspec.structs.replace(refund, reference=reply.reference)
            assert (await provider.refund(known)).answer is Answer.APPROVED

    asyncio.run(scenario())


@pytest.mark.parametrize("token", ["tok_legacy", "nonsense"])
def test_a_payment_method_that_does_not_exist_is_a_decline(server: RunningStripe, token: str) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            assert (await provider.charge(payment(token))).answer is Answer.DECLINED

    asyncio.run(scenario())


def test_a_card_that_wants_its_owner_to_act_is_a_decline_here(server: RunningStripe) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            reply = await provider.charge(payment("pm_card_threeDSecure2Required"))
            assert (reply.answer, reply.reference[:3]) == (Answer.DECLINED, "pi_")

    asyncio.run(scenario())


def test_a_wrong_key_of_the_shop_declines_nobody(server: RunningStripe) -> None:
    async def scenario() -> None:
        setup = stripe_bench_setup(server).stripe
        assert setup is not None
        provider = StripeProvider(msgspec.structs.replace(setup, secret_key="sk_wrong"), 2.0)
        try:
            assert (await provider.charge(payment())).answer is Answer.UNKNOWN
        finally:
            await provider.close()

    asyncio.run(scenario())


def test_an_intent_of_another_payment_never_settles_this_one(server: RunningStripe) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            other = await provider.charge(payment())
            mine = payment(reference=other.reference)
            assert (await provider.charge(mine)).answer is Answer.UNKNOWN
            assert (await provider.look("charge", mine)).answer is Answer.UNKNOWN

    asyncio.run(scenario())


def test_several_captures_of_one_hold_where_the_account_may(server: RunningStripe) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            hold = payment(hold=True)
            held = await provider.authorise(hold)

            def part(amount: int, *, final: bool) -> Movement:
                return Movement(
                    uuid7(), hold.id, amount, "GBP", "", charge_reference=held.reference, final=final
                )

            assert (await provider.capture(part(100, final=False))).answer is Answer.DECLINED
            server.books.multicapture = True
            assert (await provider.capture(part(100, final=False))).answer is Answer.APPROVED
            assert (await provider.capture(part(150, final=True))).answer is Answer.APPROVED
            assert server.books.intents[held.reference]["status"] == "succeeded"
            assert taken(server.books) == [100, 150]

    asyncio.run(scenario())


def test_a_capture_whose_answer_was_lost_is_not_made_twice_and_a_declined_one_is_seen(
    server: RunningStripe,
) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            hold = payment(hold=True)
            held = await provider.authorise(hold)
            part = Movement(uuid7(), hold.id, 400, "GBP", "", charge_reference=held.reference)
            server.books.faults.append(("/capture", "lost"))
            assert (await provider.capture(part)).answer is Answer.UNKNOWN
            server.books.keys.clear()
            assert (await provider.capture(part)).answer is Answer.APPROVED
            assert taken(server.books) == [400]
            gone = payment(hold=True)
            held = await provider.authorise(gone)
            server.books.cancel_by_hand(held.reference)
            known = msgspec.structs.replace(gone, reference=held.reference)
            assert (await provider.look("authorise", known)).answer is Answer.LAPSED
            late = Movement(uuid7(), gone.id, 400, "GBP", "", charge_reference=held.reference)
            assert (await provider.capture(late)).answer is Answer.DECLINED

    asyncio.run(scenario())


def test_what_is_sent_is_what_the_reference_documents(server: RunningStripe) -> None:
    async def scenario() -> None:
        async with opened(server) as provider:
            charge = payment()
            await provider.charge(charge)
        created = next(fields for method, path, fields in server.books.requests if path == CREATE)
        assert created == {
            "amount": "500",
            "currency": "gbp",
            "capture_method": "automatic",
            "payment_method": "pm_card_visa",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            "metadata[everopen_intent]": str(charge.id),
        }
        assert list(server.books.keys) == [str(charge.id)]

    asyncio.run(scenario())
