"""One suite for every payment provider; a newcomer in `PROVIDERS` needs a bench here, and is taken in by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from everopen.base.ids import uuid7
from everopen.trading.payments import PROVIDERS, Answer, BadNotice, Booked, Movement, Provider, ProviderSilent
from tests.support.providers import BENCHES, Bench


def test_every_provider_has_a_bench() -> None:
    assert set(BENCHES) == set(PROVIDERS)


@pytest.fixture(params=sorted(PROVIDERS))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with BENCHES[request.param]() as made:
        yield made


@asynccontextmanager
async def opened(bench: Bench) -> AsyncIterator[Provider]:
    provider = PROVIDERS[bench.name](bench.setup)
    assert provider is not None
    try:
        yield provider
    finally:
        await provider.close()


def payment(bench: Bench, word: str = "approve", amount: int = 500, *, hold: bool = False) -> Movement:
    new = uuid7()
    return Movement(new, new, amount, "GBP", bench.tokens[word], hold=hold)


def part_of(first: Movement, reference: str, amount: int, *, final: bool = True) -> Movement:
    return Movement(
        uuid7(), first.id, amount, first.currency, first.token, charge_reference=reference, final=final
    )


async def money(provider: Provider) -> list[Booked]:
    now_s = time.time()
    return [row async for row in provider.booked(now_s - 3600, now_s + 60)]


def test_money_moves_once_per_key_however_often_it_is_asked(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            charge = payment(bench)
            replies = [await provider.charge(charge)]
            replies += await asyncio.gather(*(provider.charge(charge) for _ in range(5)))
            told = {reply.answer for reply in replies}
            assert replies[0].answer is Answer.APPROVED
            assert told <= {Answer.APPROVED, Answer.UNKNOWN}
            known = msgspec.structs.replace(charge, reference=replies[0].reference)
            assert await provider.charge(known) == replies[0]
            assert await provider.look("charge", known) == replies[0]
            assert (await provider.withdraw(known)).answer is Answer.APPROVED
            booked = await money(provider)
            assert [(row.kind, row.id, row.amount, row.currency) for row in booked] == [
                ("capture", charge.id, 500, "GBP")
            ]

    asyncio.run(scenario())


def test_the_same_payment_asked_for_by_two_workers_at_once_is_charged_once(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as one, opened(bench) as two:
            charges = [payment(bench) for _ in range(5)]
            replies = await asyncio.gather(
                *(each.charge(charge) for charge in charges for each in (one, two))
            )
            assert {reply.answer for reply in replies} <= {Answer.APPROVED, Answer.UNKNOWN}
            for charge in charges:
                assert (await one.charge(charge)).answer is Answer.APPROVED
            assert sorted(row.id for row in await money(one) if row.id) == sorted(
                charge.id for charge in charges
            )

    asyncio.run(scenario())


def test_a_declined_card_is_declined_and_stays_so(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            for hold, ask in ((False, provider.charge), (True, provider.authorise)):
                charge = payment(bench, "decline", hold=hold)
                first = await ask(charge)
                assert first.answer is Answer.DECLINED
                assert (
                    await ask(msgspec.structs.replace(charge, reference=first.reference))
                ).answer is Answer.DECLINED
            assert await money(provider) == []

    asyncio.run(scenario())


def test_a_payment_that_was_withdrawn_is_never_made(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            for hold, ask in ((False, provider.charge), (True, provider.authorise)):
                lost = payment(bench, hold=hold)
                for _ in range(2):
                    assert (await provider.withdraw(lost)).answer is Answer.ABSENT
                late = await ask(lost)
                assert late.answer in (Answer.DECLINED, Answer.LAPSED), (
                    "a charge comes after it was withdrawn"
                )
                assert (await provider.withdraw(lost)).answer is Answer.ABSENT
            assert await money(provider) == []

    asyncio.run(scenario())


def test_a_lost_answer_is_unknown_and_the_next_question_finds_what_became_of_it(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            charge = payment(bench, "lost")
            reply = await provider.charge(charge)
            assert reply.answer is Answer.UNKNOWN
            charge = msgspec.structs.replace(charge, reference=reply.reference)
            assert (await provider.charge(charge)).answer is Answer.APPROVED
            assert [row.id for row in await money(provider)] == [charge.id]

    asyncio.run(scenario())


def test_a_hold_is_captured_and_what_is_left_given_back(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            hold = payment(bench, hold=True)
            held = await provider.authorise(hold)
            assert held.answer is Answer.APPROVED
            assert await money(provider) == [], "a hold is no money"
            assert (await provider.capture(part_of(hold, held.reference, 501))).answer is Answer.DECLINED
            part = part_of(hold, held.reference, 300)
            for _ in range(2):
                assert (await provider.capture(part)).answer is Answer.APPROVED
            assert (await provider.look("capture", part)).answer is Answer.APPROVED
            assert (await provider.capture(part_of(hold, held.reference, 100))).answer is Answer.DECLINED
            for _ in range(2):
                assert (await provider.void(part_of(hold, held.reference, 200))).answer is Answer.APPROVED
            back = part_of(hold, held.reference, 300)
            assert (await provider.refund(back)).answer is Answer.APPROVED
            assert [(row.kind, row.id, row.amount) for row in sorted(await money(provider), key=str)] == [
                ("capture", hold.id, 300),
                ("refund", back.id, 300),
            ]

    asyncio.run(scenario())


def test_a_void_ends_a_hold_and_a_capture_after_it_is_declined(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            hold = payment(bench, hold=True)
            held = await provider.authorise(hold)
            hold = msgspec.structs.replace(hold, reference=held.reference)
            assert (await provider.look("authorise", hold)).answer is Answer.APPROVED
            void = part_of(hold, held.reference, 500)
            for _ in range(2):
                assert (await provider.void(void)).answer is Answer.APPROVED
            assert (await provider.look("authorise", hold)).answer is Answer.LAPSED
            assert (await provider.capture(part_of(hold, held.reference, 1))).answer is Answer.DECLINED
            assert await money(provider) == []

    asyncio.run(scenario())


def test_refunds_go_back_once_per_key_and_never_beyond_the_charge(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            charge = payment(bench)
            paid = await provider.charge(charge)
            back = [part_of(charge, paid.reference, 300) for _ in range(2)]
            assert [(await provider.refund(refund)).answer for refund in back] == [
                Answer.APPROVED,
                Answer.DECLINED,
            ]
            again = await provider.refund(back[0])
            assert again.answer is Answer.APPROVED
            known = msgspec.structs.replace(back[0], reference=again.reference)
            assert (await provider.look("refund", known)).answer is Answer.APPROVED
            booked = {(row.kind, row.id): row.amount for row in await money(provider)}
            assert booked == {("capture", charge.id): 500, ("refund", back[0].id): 300}

    asyncio.run(scenario())


def test_a_provider_that_is_gone_leaves_everything_unknown(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            charge = payment(bench)
            paid = await provider.charge(charge)
            bench.stop()
            part = part_of(charge, paid.reference, 1)
            replies = [
                await provider.charge(payment(bench)),
                await provider.authorise(payment(bench, hold=True)),
                await provider.withdraw(payment(bench)),
                await provider.refund(part),
                await provider.capture(part),
                await provider.void(part),
                await provider.look("charge", charge),
            ]
            assert {reply.answer for reply in replies} == {Answer.UNKNOWN}
            with pytest.raises(ProviderSilent):
                await money(provider)

    asyncio.run(scenario())


def test_a_notice_is_believed_only_with_its_signature_over_the_very_bytes_and_in_time(bench: Bench) -> None:
    async def scenario() -> None:
        async with opened(bench) as provider:
            now_s = time.time()
            payment_id = uuid7()
            headers, body = bench.notice(str(payment_id), now_s)
            assert provider.read_notice(headers, body, now_s).payment_id == payment_id
            ((name, good),) = headers.items()
            strange, strange_body = bench.notice("not one of ours", now_s)
            assert provider.read_notice(strange, strange_body, now_s).payment_id is None
            for wrong, said, at_s in (
                (headers, body + b" ", now_s),
                (headers, body, now_s + 3600),
                (headers, body, now_s - 3600),
                ({}, body, now_s),
                ({name: b""}, body, now_s),
                ({name: good.replace(b"v1=", b"v0=")}, body, now_s),
                ({name: good[:-1] + (b"0" if good[-1:] != b"0" else b"1")}, body, now_s),
                ({name: b"t=1e9,v1=\xff"}, body, now_s),
            ):
                with pytest.raises(BadNotice):
                    provider.read_notice(wrong, said, at_s)
            signed, nonsense = bench.notice(str(payment_id), now_s, body=b"[]")
            with pytest.raises(BadNotice):
                provider.read_notice(signed, nonsense, now_s)

    asyncio.run(scenario())
