"""Customers on a real PostgreSQL: accounts, logins, resets, guesses; several workers at once."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from everopen.base.errors import StoreUnavailable
from everopen.base.ids import secret_token, uuid7
from everopen.trading.carts import Addition, Carts
from everopen.trading.orders import KeyReused
from everopen.trading.people import PeopleSettings
from everopen.trading.people.belongings import ADDRESSES_MOST
from everopen.trading.people.desk import forget_people
from everopen.trading.people.outcomes import (
    Address,
    AddressFields,
    Customer,
    Full,
    LoggedIn,
    NameTaken,
    TokenSpent,
    TooManyAttempts,
    WeakPassword,
    WrongLogin,
)
from everopen.trading.people.passwords import Passwords
from tests.integration.trading.conftest import Shop
from tests.integration.trading.people import NEW, PASSWORD, Scene, once, people_of

HOME = AddressFields("Ann Smith", "1 High Street", "Leeds", "GB", postcode="LS1 1AA")


LETTERS = """
(SELECT payload, created_at FROM outbox WHERE topic = 'customer.password_reset'
 UNION ALL SELECT payload, created_at FROM events WHERE topic = 'customer.password_reset') letters
"""


async def reset_token(shop: Shop) -> str:
    """The token that the mailer got last, wherever its event is on its way."""
    payload = await shop.value(f"SELECT payload FROM {LETTERS} ORDER BY created_at DESC LIMIT 1")
    token: str = json.loads(payload)["token"]
    return token


async def ask_reset(scene: Scene, email: str = "ann@example.org") -> Any:
    return await scene.people.customers.ask_reset(email, address="192.0.2.1", once=once("reset"))


async def reset(scene: Scene, token: str, password: str = NEW, *, key: str | None = None) -> Any:
    return await scene.people.customers.reset(
        token, password, address="192.0.2.1", once=once("new", key, token.encode())
    )


def test_a_customer_registers_logs_in_and_is_known_by_the_session(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            customer = await scene.register()
            assert isinstance(customer, Customer)
            entered = await scene.login(" ANN@example.org ")  # spelling does not matter
            assert isinstance(entered, LoggedIn)
            assert await scene.people.customers.of_session(entered.token) == customer
            await scene.people.customers.logout(entered.token)
            assert await scene.people.customers.of_session(entered.token) is None
            assert await scene.people.customers.of_session(secret_token()) is None

    asyncio.run(scenario())


def test_passwords_are_kept_as_argon2id_and_renewed_when_the_parameters_change(shop: Shop) -> None:
    async def scenario() -> None:
        kept = "SELECT password_hash FROM customers"
        async with people_of(shop) as scene:
            await scene.register()
            assert (await shop.value(kept)).startswith("$argon2id$v=19$m=8192,t=1,p=1$")
        async with people_of(shop, argon2_memory_kib=9216, argon2_passes=2) as scene:
            assert isinstance(await scene.login(password="wrong" * 3), WrongLogin)
            assert "m=8192,t=1" in await shop.value(kept)
            assert isinstance(await scene.login(), LoggedIn)
            assert "m=9216,t=2" in await shop.value(kept)
            assert isinstance(await scene.login(), LoggedIn)

    asyncio.run(scenario())


def test_one_address_gets_one_account_however_many_register_at_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=100) as one, people_of(shop, login_attempts=100) as two:
            outcomes = await asyncio.gather(*(scene.register() for scene in (one, two) * 5))
            assert Counter(type(outcome) for outcome in outcomes) == {Customer: 1, NameTaken: 9}
            again = await asyncio.gather(
                *(scene.register("bob@example.org", key="bob") for scene in (one, two) * 3)
            )
            assert len({customer.id for customer in again}) == 1  # and one request counts once
            other = await one.register("bob@example.org", key="bob", fingerprint=b"other")
            assert isinstance(other, KeyReused)
            assert await shop.value("SELECT count(*) FROM customers") == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("password", ["short", "x" * 300, "aaaaaaaaaaaa", "ann@example.org"])
def test_a_weak_password_is_refused(shop: Shop, password: str) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            assert isinstance(await scene.register(password=password), WeakPassword)

    asyncio.run(scenario())


def test_a_login_brings_the_guests_cart_along_and_changes_the_token(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            await shop.stock(scene.worker, apple=10)
            await scene.register()
            carts = Carts(scene.worker.primary, "GBP")
            guest_cart, planted = uuid7(), secret_token()
            await scene.sessions.open(planted, guest_cart)
            await carts.add(Addition(guest_cart, "apple", 2, shop.key(), b"f"))
            entered = await scene.login(token=planted)
            assert entered.token != planted
            assert await scene.sessions.find(planted) is None  # whoever planted the token has nothing
            cart = await carts.find(entered.cart_id)
            assert [(line.sku, line.quantity) for line in cart.lines] == [("apple", 2)]
            elsewhere = await scene.login()
            assert elsewhere.cart_id == entered.cart_id  # one cart on all devices
            await carts.close()

    asyncio.run(scenario())


def test_an_unknown_address_takes_as_long_as_a_wrong_password(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(
            shop, argon2_memory_kib=32768, argon2_passes=2, login_attempts=100, login_attempts_per_address=0
        ) as scene:
            await scene.register()
            await scene.login("nobody@example.org", "warm it up")
            took: dict[str, list[float]] = {"ann@example.org": [], "nobody@example.org": []}
            for _ in range(7):
                for email, seconds in took.items():
                    started = time.perf_counter()
                    assert isinstance(await scene.login(email, "wrong password"), WrongLogin)
                    seconds.append(time.perf_counter() - started)
            known, unknown = (statistics.median(seconds) for seconds in took.values())
            assert 0.6 < known / unknown < 1.6

    asyncio.run(scenario())


def test_guesses_are_counted_over_all_workers_also_at_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_backoff_s=30.0) as one, people_of(shop) as two:
            await one.register()
            guesses = [
                scene.login(password=f"wrong {n}", address=f"198.51.100.{n}")
                for n, scene in enumerate((one, two) * 15)
            ]
            counted = Counter(type(outcome) for outcome in await asyncio.gather(*guesses))
            assert (
                counted[WrongLogin] == 6
            )  # five are free, the next one is let through and has to wait from then on
            assert counted[TooManyAttempts] == 24
            waiting = await two.login(address="198.51.100.77")
            assert isinstance(waiting, TooManyAttempts)  # also for the right password, or it would be told
            assert 0 < waiting.wait_s <= 30
            assert isinstance(await two.login("nobody@example.org"), WrongLogin)  # others come in

    asyncio.run(scenario())


def test_waits_double_up_to_a_limit_and_are_forgotten(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=1, login_backoff_s=10.0, login_backoff_max_s=60.0) as scene:
            waits = []
            for _ in range(6):
                await scene.login("a@b.org", "wrong guess")
                refused = await scene.login("a@b.org", "wrong guess")
                waits.append(refused.wait_s if isinstance(refused, TooManyAttempts) else 0)
                await shop.fetch("UPDATE login_attempts SET blocked_until = now()")
            # the second guess of the first round was let through, and had to wait only from then on
            assert waits == [0, 20, 40, 60, 60, 60]
            await shop.fetch("UPDATE login_attempts SET last_at = now() - interval '25 hours'")
            assert isinstance(await scene.login("a@b.org", "wrong guess"), WrongLogin)
            assert isinstance(await scene.login("a@b.org", "wrong guess"), WrongLogin)

    asyncio.run(scenario())


def test_who_guesses_at_an_account_does_not_keep_its_owner_out(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=2, login_backoff_s=600.0) as scene:
            await scene.register()
            assert isinstance(await scene.login(address="192.0.2.1"), LoggedIn)
            for n in range(6):
                await scene.login(password="a guess", address=f"198.51.100.{n}")
            assert isinstance(await scene.login(address="203.0.113.1"), TooManyAttempts)
            assert isinstance(await scene.login(address="192.0.2.1"), LoggedIn)  # from where he was before
            # and from anywhere by a new password
            await ask_reset(scene)
            assert isinstance(await reset(scene, await reset_token(shop)), Customer)
            assert isinstance(await scene.login(password=NEW, address="203.0.113.1"), LoggedIn)

    asyncio.run(scenario())


def test_guesses_from_one_address_wait_over_all_accounts(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts_per_address=3, login_backoff_s=30.0) as scene:
            await scene.register()
            outcomes = [
                await scene.login(f"user{n}@example.org", "guess", address=f"2001:db8:1:2::{n}")
                for n in range(6)
            ]
            assert [type(outcome) for outcome in outcomes] == [WrongLogin] * 4 + [TooManyAttempts] * 2
            assert isinstance(await scene.login(address="2001:db8:1:3::1"), LoggedIn)

    asyncio.run(scenario())


def test_a_reset_changes_the_password_and_ends_every_session(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            customer = await scene.register()
            before = await scene.login()
            await ask_reset(scene)
            token = await reset_token(shop)
            assert token.encode() not in await shop.value("SELECT token_hash FROM password_resets")
            assert await reset(scene, token) == customer
            assert await scene.people.customers.of_session(before.token) is None
            assert isinstance(await scene.login(), WrongLogin)
            assert isinstance(await scene.login(password=NEW), LoggedIn)
            assert isinstance(await reset(scene, token), TokenSpent)

    asyncio.run(scenario())


def test_one_reset_token_works_once_however_many_use_it_at_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as one, people_of(shop) as two:
            await one.register()
            await ask_reset(one)
            token = await reset_token(shop)
            passwords = [f"{NEW} {n}" for n in range(10)]
            outcomes = await asyncio.gather(
                *(
                    reset(scene, token, password)
                    for scene, password in zip((one, two) * 5, passwords, strict=True)
                )
            )
            assert Counter(type(outcome) for outcome in outcomes) == {Customer: 1, TokenSpent: 9}
            winner = passwords[[type(outcome) for outcome in outcomes].index(Customer)]
            assert isinstance(await one.login(password=winner), LoggedIn)

    asyncio.run(scenario())


def test_a_repeated_reset_is_answered_like_the_first(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as one, people_of(shop) as two:
            customer = await one.register()
            await ask_reset(one)
            token = await reset_token(shop)
            outcomes = await asyncio.gather(*(reset(scene, token, key="same") for scene in (one, two) * 3))
            assert outcomes == [customer] * 6
            assert await reset(two, token, key="same") == customer

    asyncio.run(scenario())


def test_one_key_is_one_password(shop: Shop) -> None:
    """A password is in no fingerprint, so a repeat is held against the account itself."""

    async def scenario() -> None:
        async with people_of(shop, login_attempts=100) as scene:
            customer = await scene.register(key="one")
            assert await scene.register(key="one") == customer
            assert isinstance(await scene.register(key="one", password=NEW), KeyReused)
            entered = await scene.login()

            async def change(new: str) -> Any:
                return await scene.people.customers.change_password(
                    customer.id, PASSWORD, new, token=entered.token, address="", once=once("p", "two")
                )

            assert await change(NEW) == customer
            assert await change(NEW) == customer
            assert isinstance(await change("yet another one"), KeyReused)
            await ask_reset(scene)
            token = await reset_token(shop)
            assert await reset(scene, token, "the third of them", key="three") == customer
            assert await reset(scene, token, "the third of them", key="three") == customer
            assert isinstance(await reset(scene, token, "the fourth of them", key="three"), KeyReused)
            assert isinstance(await scene.login(password="the third of them"), LoggedIn)
            await scene.people.customers.erase(customer.id, once=once("erase"))
            assert isinstance(await scene.register(key="one"), KeyReused)

    asyncio.run(scenario())


def test_an_old_token_and_one_before_another_change_are_spent(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            customer = await scene.register()
            await ask_reset(scene)
            old = await reset_token(shop)
            await shop.fetch("UPDATE password_resets SET expires_at = now()")
            assert isinstance(await reset(scene, old), TokenSpent)
            await ask_reset(scene)
            entered = await scene.login()
            changed = await scene.people.customers.change_password(
                customer.id, PASSWORD, NEW, token=entered.token, address="192.0.2.1", once=once("change")
            )
            assert changed == customer
            assert isinstance(await reset(scene, await reset_token(shop)), TokenSpent)
            assert isinstance(await reset(scene, secret_token()), TokenSpent)

    asyncio.run(scenario())


def test_asking_for_a_reset_says_nothing_about_accounts(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            await scene.register()
            assert await ask_reset(scene) is None
            assert await ask_reset(scene, "nobody@example.org") is None
            sent = f"SELECT count(*) FROM {LETTERS}"
            assert await shop.value(sent) == 1
            await asyncio.gather(
                *(
                    scene.people.customers.ask_reset(
                        "ann@example.org", address="192.0.2.1", once=once("reset", "twice")
                    )
                    for _ in range(3)
                )
            )
            assert await shop.value(sent) == 2  # a repeated request sends one letter

    asyncio.run(scenario())


def test_another_password_ends_the_other_sessions_and_no_login_slips_through(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=100) as one, people_of(shop) as two:
            customer = await one.register()
            here, there = await one.login(), await one.login()
            change = one.people.customers.change_password(
                customer.id, PASSWORD, NEW, token=here.token, address="192.0.2.1", once=once("change")
            )
            changed, *racing = await asyncio.gather(change, *(two.login() for _ in range(8)))
            assert changed == customer
            assert await one.people.customers.of_session(here.token) == customer
            assert await one.people.customers.of_session(there.token) is None
            for entered in racing:  # with the former password, at the same moment
                if isinstance(entered, LoggedIn):
                    assert await one.people.customers.of_session(entered.token) is None

    asyncio.run(scenario())


def test_another_address_needs_the_password_and_must_be_free(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            customer = await scene.register()
            await scene.register("bob@example.org")
            change = scene.people.customers.change_profile
            where = {"address": "192.0.2.1"}
            named = await change(customer.id, name="Annie", email=None, password=None, **where)
            assert named.name == "Annie"
            new = "annie@example.org"
            assert isinstance(
                await change(customer.id, name=None, email=new, password=None, **where), WrongLogin
            )
            taken = await change(customer.id, name=None, email="BOB@example.org", password=PASSWORD, **where)
            assert isinstance(taken, NameTaken)
            moved = await change(customer.id, name=None, email=new, password=PASSWORD, **where)
            assert (moved.email, moved.name) == (new, "Annie")
            assert isinstance(await scene.login(new), LoggedIn)

    asyncio.run(scenario())


def test_addresses_belong_to_their_customer(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            ann, bob = await scene.register(), await scene.register("bob@example.org")
            own = scene.people.belongings
            kept = await own.add_address(ann.id, HOME, once=once("address", "home"))
            assert kept == await own.add_address(ann.id, HOME, once=once("address", "home"))
            assert isinstance(kept, Address)
            assert await own.addresses(ann.id) == [kept]
            assert await own.addresses(bob.id) == []
            assert not isinstance(await own.set_address(bob.id, kept.id, HOME), Address)
            await own.drop_address(bob.id, kept.id)
            assert await own.addresses(ann.id) == [kept]
            await own.drop_address(ann.id, kept.id)
            assert await own.addresses(ann.id) == []
            made = await asyncio.gather(
                *(own.add_address(ann.id, HOME, once=once("address")) for _ in range(ADDRESSES_MOST + 5))
            )
            assert Counter(type(outcome) for outcome in made) == {Address: ADDRESSES_MOST, Full: 5}

    asyncio.run(scenario())


def test_an_erased_customer_leaves_orders_and_nothing_else(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            customer = await scene.register()
            entered = await scene.login()
            await scene.people.belongings.add_address(customer.id, HOME, once=once("address"))
            assert await scene.people.customers.erase(customer.id, once=once("erase", "e")) is None
            assert await scene.people.customers.erase(customer.id, once=once("erase", "e")) is None
            assert await scene.people.customers.of_session(entered.token) is None
            assert isinstance(await scene.login(), WrongLogin)
            assert await shop.value("SELECT count(*) FROM customer_addresses") == 0
            assert await shop.value("SELECT email || name || password_hash FROM customers") == ""
            assert isinstance(await scene.register(), Customer)  # the address is free again

    asyncio.run(scenario())


def test_the_event_loop_goes_on_while_passwords_are_looked_at_and_the_queue_ends() -> None:
    async def scenario() -> None:
        settings = PeopleSettings(argon2_memory_kib=65536, argon2_passes=4, password_queue_max=3)
        passwords = Passwords(settings)
        kept = await passwords.digest(PASSWORD)
        waits: list[float] = []
        done = asyncio.Event()

        async def tick() -> None:
            while not done.is_set():
                started = time.perf_counter()
                await asyncio.sleep(0.001)
                waits.append(time.perf_counter() - started)

        ticking = asyncio.create_task(tick())
        outcomes = await asyncio.gather(
            *(passwords.fits(kept, PASSWORD) for _ in range(5)), return_exceptions=True
        )
        done.set()
        await ticking
        passwords.close()
        assert Counter(type(outcome) for outcome in outcomes) == {bool: 3, StoreUnavailable: 2}
        assert statistics.median(waits) < 0.05

    asyncio.run(scenario())


def test_what_no_door_needs_any_more_is_forgotten(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            await scene.register()
            await scene.login()
            await scene.login(password="a guess")
            await ask_reset(scene)
            tables = ("login_attempts", "login_places", "password_resets")
            counts = [await shop.value(f"SELECT count(*) FROM {table}") for table in tables]
            assert min(counts) > 0
            context: Any = SimpleNamespace(primary=scene.worker.primary)
            await forget_people(context)
            assert [await shop.value(f"SELECT count(*) FROM {table}") for table in tables] == counts
            await shop.fetch(
                "UPDATE login_attempts SET last_at = now() - interval '8 days', blocked_until = now()"
            )
            await shop.fetch("UPDATE login_places SET seen_at = now() - interval '91 days'")
            await shop.fetch("UPDATE password_resets SET expires_at = now() - interval '2 days'")
            assert (await forget_people(context)).startswith("Forgot ")
            assert [await shop.value(f"SELECT count(*) FROM {table}") for table in tables] == [0, 0, 0]

    asyncio.run(scenario())
