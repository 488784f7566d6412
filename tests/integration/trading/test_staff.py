"""Staff on a real PostgreSQL: roles, second factor, recovery codes, sessions, API keys; several workers at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, get_args

import pytest

from everopen.api.access import OPERATOR
from everopen.trading.orders import KeyReused
from everopen.trading.people.outcomes import (
    ApiKey,
    Bearer,
    CodeNeeded,
    Forbidden,
    KeyMade,
    NameTaken,
    StaffEntry,
    StaffMade,
    TooManyAttempts,
    WeakPassword,
    WrongCode,
    WrongLogin,
)
from everopen.trading.people.roles import ROLES, SCOPES, RoleName, ScopeName, scopes_of
from tests.integration.trading.conftest import Shop
from tests.integration.trading.people import NEW, PASSWORD, once, people_of

WHERE = {"address": "192.0.2.9"}


def test_roles_are_sets_of_scopes_that_exist() -> None:
    assert set(get_args(ScopeName)) == set(SCOPES)
    assert set(get_args(RoleName)) == set(ROLES)
    for scopes in ROLES.values():
        assert scopes <= SCOPES.keys()
    assert [name for name, scopes in ROLES.items() if "staff:write" in scopes] == ["owner"]
    assert scopes_of(("auditor", "a role of former times")) == ROLES["auditor"]


def test_a_new_account_can_do_nothing_before_its_owner_made_it_his(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            made = await scene.staff("ann", "support")
            entry = await scene.staff_login("ANN", made.password)
            me = await scene.bearer(entry)
            assert (me.scopes, me.missing) == (frozenset(), ("password", "second-factor"))
            entries = scene.people.entry
            short = await entries.change_password(me, made.password, "eleven char", once=once("p"), **WHERE)
            assert isinstance(short, WeakPassword)
            await entries.change_password(me, made.password, PASSWORD, once=once("p"), **WHERE)
            assert (await scene.bearer(entry)).missing == ("second-factor",)
            offer: Any = await entries.offer_second_factor(me, PASSWORD, "", issuer="My Shop", **WHERE)
            assert offer.address.startswith("otpauth://totp/My%20Shop:ann?secret=")
            assert isinstance(await entries.confirm_second_factor(me, "000000", once=once("c")), WrongCode)
            assert (await scene.bearer(entry)).missing == ("second-factor",)  # offered is not confirmed
            codes = await entries.confirm_second_factor(me, scene.code(offer.secret), once=once("c"))
            assert isinstance(codes, list)
            assert len(set(codes)) == 10
            me = await scene.bearer(entry)
            assert (me.actor, me.scopes, me.missing) == ("staff:ann", ROLES["support"], ())

    asyncio.run(scenario())


def test_a_second_factor_can_be_left_to_everybody(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, staff_second_factor="optional") as scene:
            made = await scene.staff("ann", "support")
            entry = await scene.staff_login("ann", made.password)
            me = await scene.bearer(entry)
            await scene.people.entry.change_password(me, made.password, PASSWORD, once=once("p"), **WHERE)
            assert (await scene.bearer(entry)).scopes == ROLES["support"]

    asyncio.run(scenario())


def test_a_login_needs_password_and_code_and_a_code_counts_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=100) as scene:
            _, secret = await scene.whole("ann", "manager")
            assert isinstance(await scene.staff_login("ann", PASSWORD), CodeNeeded)
            assert isinstance(await scene.staff_login("ann", NEW, scene.code(secret)), WrongLogin)
            assert isinstance(await scene.staff_login("nobody", PASSWORD), WrongLogin)
            assert isinstance(
                await scene.staff_login("ann", PASSWORD, scene.code(secret, steps=2)), WrongCode
            )
            code = scene.code(secret)
            assert isinstance(await scene.staff_login("ann", PASSWORD, code), StaffEntry)
            assert isinstance(await scene.staff_login("ann", PASSWORD, code), WrongCode)
            # a clock that drifts by a step is fine, but nothing older than what was taken
            assert isinstance(
                await scene.staff_login("ann", PASSWORD, scene.code(secret, steps=-1)), WrongCode
            )
            assert isinstance(
                await scene.staff_login("ann", PASSWORD, scene.code(secret, steps=1)), StaffEntry
            )

    asyncio.run(scenario())


def test_of_two_logins_with_one_code_one_is_refused(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=100) as one, people_of(shop, login_attempts=100) as two:
            _, secret = await one.whole("ann", "manager")
            two.clock.now_s = one.clock.now_s
            code = one.code(secret)
            outcomes = await asyncio.gather(
                *(scene.staff_login("ann", PASSWORD, code) for scene in (one, two) * 5)
            )
            assert Counter(type(outcome) for outcome in outcomes) == {StaffEntry: 1, WrongCode: 9}

    asyncio.run(scenario())


def test_a_login_that_the_gateway_sends_again_is_the_same_login(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            _, secret = await scene.whole("ann", "manager")
            code = scene.code(secret)
            first = await scene.staff_login("ann", PASSWORD, code, once=once("staff-login", "k"))
            again = await scene.staff_login("ann", PASSWORD, code, once=once("staff-login", "k"))
            assert isinstance(again, StaffEntry)
            assert await scene.people.identify(first.token) is None  # its answer was lost: nobody has it
            assert (await scene.bearer(again)).account == first.account.id
            assert await shop.value("SELECT count(*) FROM audit_log WHERE action = 'staff-login'") == 2
            assert isinstance(
                await scene.staff_login("ann", NEW, code, once=once("staff-login", "k")), WrongLogin
            )
            await shop.fetch("UPDATE staff_sessions SET created_at = now() - interval '3 minutes'")
            late = await scene.staff_login("ann", PASSWORD, code, once=once("staff-login", "k"))
            assert isinstance(late, WrongCode)

    asyncio.run(scenario())


def test_each_recovery_code_works_once(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=100) as one, people_of(shop, login_attempts=100) as two:
            entry, secret = await one.whole("ann", "manager")
            codes: Any = await one.people.entry.renew_recovery_codes(
                await one.bearer(entry), one.code(secret), once=once("r")
            )
            assert isinstance(codes, list)
            tried = codes[0].upper().replace("-", " ")
            outcomes = await asyncio.gather(
                *(scene.staff_login("ann", PASSWORD, tried) for scene in (one, two) * 3)
            )
            assert Counter(type(outcome) for outcome in outcomes) == {StaffEntry: 1, WrongCode: 5}
            second: Any = await one.staff_login("ann", PASSWORD, codes[1])
            assert second.recovery_codes_left == 8
            kept = await shop.fetch("SELECT code_hash FROM staff_recovery_codes")
            assert codes[2].encode() not in b"".join(row[0] for row in kept)

    asyncio.run(scenario())


def test_a_stolen_session_does_not_change_password_or_second_factor(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=2, login_backoff_s=300.0) as scene:
            entry, secret = await scene.whole("ann", "manager")
            me = await scene.bearer(entry)
            entries = scene.people.entry
            away = {"address": "198.51.100.1"}
            assert isinstance(
                await entries.offer_second_factor(me, PASSWORD, "", issuer="S", **away), CodeNeeded
            )
            assert isinstance(
                await entries.change_password(me, "guess it", NEW, once=once("p"), **away), WrongLogin
            )
            assert isinstance(
                await entries.change_password(me, "guess it", NEW, once=once("p"), **away), WrongLogin
            )
            for right in ("guess it", PASSWORD):
                refused = await entries.change_password(me, right, NEW, once=once("p"), **away)
                assert isinstance(refused, TooManyAttempts)
            assert isinstance(await scene.staff_login("ann", PASSWORD, scene.code(secret)), StaffEntry)

    asyncio.run(scenario())


def test_a_repeated_change_of_a_password_is_the_same_change(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            entry, _ = await scene.whole("ann", "manager")
            me = await scene.bearer(entry)

            async def change(new: str) -> Any:
                return await scene.people.entry.change_password(
                    me, PASSWORD, new, once=once("p", "k"), **WHERE
                )

            assert await change(NEW) == await change(NEW)
            assert isinstance(await change("yet another one"), KeyReused)

    asyncio.run(scenario())


def test_sessions_end_by_time_by_idling_and_with_the_account(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, staff_session_hours=8, staff_idle_minutes=60) as scene:
            entry, _ = await scene.whole("ann", "manager")
            hours = await shop.value(
                "SELECT extract(epoch FROM expires_at - created_at)::float8 / 3600 FROM staff_sessions"
            )
            assert hours == pytest.approx(8)
            identify = scene.people.identify
            await shop.fetch("UPDATE staff_sessions SET seen_at = now() - interval '59 minutes'")
            assert await identify(entry.token) is not None
            assert await shop.value("SELECT now() - seen_at < interval '5 seconds' FROM staff_sessions")
            await shop.fetch("UPDATE staff_sessions SET seen_at = now() - interval '61 minutes'")
            assert await identify(entry.token) is None
            await shop.fetch("UPDATE staff_sessions SET seen_at = now(), expires_at = now()")
            assert await identify(entry.token) is None
            await shop.fetch("UPDATE staff_sessions SET expires_at = now() + interval '1 hour'")
            me = await scene.bearer(entry)
            ended: Any = await scene.people.staff.change(
                entry.account.id, name=None, roles=None, active=False, by=OPERATOR, key="k"
            )
            assert not ended.active
            assert await identify(entry.token) is None
            assert isinstance(await scene.staff_login("ann", PASSWORD), WrongLogin)
            await scene.people.entry.logout(me)
            assert await shop.value("SELECT count(*) FROM staff_sessions") == 0

    asyncio.run(scenario())


def test_nobody_gives_rights_that_he_lacks(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            boss = await scene.staff("boss", "owner")
            clerk = Bearer(
                "staff:clerk", frozenset({"staff:write"}) | ROLES["support"], account=boss.account.id
            )
            people = scene.people
            made = await people.staff.add("new", "", ("owner",), by=clerk, once=once("s"))
            assert isinstance(made, Forbidden)
            assert isinstance(
                await people.staff.add("new", "", ("support",), by=clerk, once=once("s")), StaffMade
            )
            for change in (
                people.staff.change(
                    boss.account.id, name=None, roles=("support",), active=None, by=clerk, key="k"
                ),
                people.staff.change(boss.account.id, name=None, roles=None, active=False, by=clerk, key="k"),
                people.staff.reset(boss.account.id, second_factor=True, by=clerk, once=once("r"), **WHERE),
                people.keys.add("k", ("refunds:write", "stock:write"), 1, by=clerk, once=once("k")),
            ):
                assert isinstance(await change, Forbidden)
            same = await people.staff.add("BOSS", "", ("support",), by=OPERATOR, once=once("s"))
            assert isinstance(same, NameTaken)

    asyncio.run(scenario())


def test_a_reset_lets_somebody_in_who_lost_everything(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop, login_attempts=1, login_backoff_s=600.0) as scene:
            entry, _ = await scene.whole("ann", "manager")
            for n in range(4):
                await scene.staff_login("ann", "a guess", address=f"198.51.100.{n}")
            reset: Any = await scene.people.staff.reset(
                entry.account.id, second_factor=True, by=OPERATOR, once=once("r"), address="203.0.113.9"
            )
            assert await scene.people.identify(entry.token) is None
            back = await scene.staff_login("ann", reset.password, address="203.0.113.9")
            assert (await scene.bearer(back)).missing == ("password", "second-factor")

    asyncio.run(scenario())


def test_a_key_does_what_its_scopes_say_until_it_ends(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            keys, identify = scene.people.keys, scene.people.identify
            made: Any = await keys.add("erp", ("stock:write",), 30, by=OPERATOR, once=once("k", "erp"))
            assert made.token.startswith("eok_")
            bearer: Any = await identify(made.token)
            assert (bearer.actor, bearer.scopes) == ("key:erp", {"stock:write"})
            (listed,) = await keys.all()
            assert listed.last_used_at is not None
            again: Any = await keys.add("erp", ("stock:write",), 30, by=OPERATOR, once=once("k", "erp"))
            assert (again.key.id, again.token) == (made.key.id, "")  # it is in use: its token stays
            assert made.token not in str(await shop.fetch("SELECT * FROM api_keys"))
            await shop.fetch("UPDATE api_keys SET expires_at = now()")
            assert await identify(made.token) is None
            await shop.fetch("UPDATE api_keys SET expires_at = NULL")
            assert await identify(made.token) is not None
            revoked: Any = await keys.revoke(made.key.id, key="k")
            assert revoked.revoked_at is not None
            assert await keys.revoke(made.key.id, key="k") == revoked
            assert await identify(made.token) is None

    asyncio.run(scenario())


def test_a_key_is_bounded_by_its_maker_and_ends_with_him(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            entry, _ = await scene.whole("ann", "owner")
            by = await scene.bearer(entry)
            made: Any = await scene.people.keys.add(
                "mine", ("stock:write", "refunds:write"), None, by=by, once=once("k", "mine")
            )
            lost: Any = await scene.people.keys.add(
                "mine", ("stock:write", "refunds:write"), None, by=by, once=once("k", "mine")
            )
            assert await scene.people.identify(made.token) is None  # its answer was lost
            token = lost.token
            bearer: Any = await scene.people.identify(token)
            assert bearer.scopes == {"stock:write", "refunds:write"}
            change = scene.people.staff.change
            facts: Any = {"name": None, "by": OPERATOR, "key": "k"}
            await change(entry.account.id, roles=("catalogue",), active=None, **facts)
            bearer = await scene.people.identify(token)
            assert bearer.scopes == {"stock:write"}
            await change(entry.account.id, roles=None, active=False, **facts)
            assert await scene.people.identify(token) is None
            assert isinstance(lost, KeyMade)
            assert isinstance((await scene.people.keys.all())[0], ApiKey)

    asyncio.run(scenario())


def test_an_account_is_made_once_per_key_and_its_lost_password_is_replaced(shop: Shop) -> None:
    async def scenario() -> None:
        async with people_of(shop) as scene:
            add = scene.people.staff.add
            first: Any = await add("ann", "", ("support",), by=OPERATOR, once=once("s", "k"))
            again: Any = await add("ann", "", ("support",), by=OPERATOR, once=once("s", "k"))
            assert again.account.id == first.account.id
            assert isinstance(await scene.staff_login("ann", first.password), WrongLogin)
            assert isinstance(await scene.staff_login("ann", again.password), StaffEntry)

    asyncio.run(scenario())
