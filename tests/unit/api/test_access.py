"""Who may do what: the gate in front of every call of staff, without a database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everopen.api.access import REMEMBERED_MOST, Access
from everopen.api.problems import Refusal
from everopen.api.routes import SELF
from everopen.api.table import TABLE
from everopen.base.actor import ACTOR
from everopen.base.clock import VirtualClock
from everopen.base.ids import uuid7
from everopen.trading.people import PeopleSettings
from everopen.trading.people.outcomes import Bearer
from everopen.trading.people.roles import ROLES, SCOPES

CLERK = Bearer("staff:ann", ROLES["fulfilment"], uuid7(), uuid7())
NEWCOMER = Bearer("staff:new", frozenset(), uuid7(), uuid7(), ("password", "second-factor"))
KEY = Bearer("key:erp", frozenset({"stock:write"}))


class Tokens:
    """What the store knows, and how often it was asked."""

    def __init__(self) -> None:
        self.settings = PeopleSettings(access_cache_s=2.0)
        self.known = {"eos_clerk": CLERK, "eos_new": NEWCOMER, "eok_erp": KEY}
        self.asked = 0

    async def identify(self, token: str) -> Bearer | None:
        self.asked += 1
        return self.known.get(token)


def gate() -> tuple[Access, Tokens, VirtualClock]:
    tokens, clock = Tokens(), VirtualClock()
    return Access(tokens, "the operator's", clock=clock), tokens, clock  # type: ignore[arg-type]


def admitted(access: Access, token: str, scope: str) -> Any:
    """The bearer, or the refusal's name."""
    try:
        return asyncio.run(access.require({b"authorization": f"Bearer {token}".encode()}, scope))
    except Refusal as refusal:
        return refusal.name


@pytest.mark.parametrize(
    ("token", "scope", "expected"),
    [
        ("eos_clerk", "stock:write", CLERK),
        ("eos_clerk", "refunds:write", "not-allowed"),
        ("eos_clerk", SELF, CLERK),
        ("eos_new", "stock:write", "not-allowed"),
        ("eos_new", SELF, NEWCOMER),
        ("eok_erp", "stock:write", KEY),
        ("eok_erp", SELF, "not-allowed"),
        ("the operator's", SELF, "not-allowed"),
        ("the operator", "stock:write", "not-operator"),
        ("eos_unknown", "stock:write", "not-operator"),
    ],
)
def test_a_token_does_what_its_bearer_may(token: str, scope: str, expected: Any) -> None:
    assert admitted(gate()[0], token, scope) == expected


def test_the_operator_key_may_do_everything_without_a_database() -> None:
    access, tokens, _ = gate()
    for scope in SCOPES:
        assert admitted(access, "the operator's", scope).actor == "operator"
    assert tokens.asked == 0


def test_every_scope_of_the_table_can_be_given_to_somebody() -> None:
    asked = {route.scope for route in TABLE if route.scope} - {"self", "customer"}
    assert asked <= SCOPES.keys()


def test_what_a_token_may_do_is_remembered_for_a_moment_only() -> None:
    access, tokens, clock = gate()
    for _ in range(5):
        admitted(access, "eok_erp", "stock:write")
    assert tokens.asked == 1
    del tokens.known["eok_erp"]  # revoked by another worker
    clock.advance(1.9)
    assert admitted(access, "eok_erp", "stock:write") == KEY
    clock.advance(0.2)
    assert admitted(access, "eok_erp", "stock:write") == "not-operator"


def test_the_worker_that_revokes_forgets_at_once() -> None:
    access, tokens, _ = gate()
    admitted(access, "eok_erp", "stock:write")
    del tokens.known["eok_erp"]
    access.forget()
    assert admitted(access, "eok_erp", "stock:write") == "not-operator"


def test_who_has_set_up_what_was_missing_does_not_wait() -> None:
    access, tokens, _ = gate()
    assert admitted(access, "eos_new", "stock:write") == "not-allowed"
    tokens.known["eos_new"] = CLERK
    assert admitted(access, "eos_new", "stock:write") == CLERK


def test_unknown_tokens_fill_no_memory_and_long_ones_ask_nobody() -> None:
    access, tokens, _ = gate()
    for number in range(50):
        admitted(access, f"eok_{number}", "stock:write")
    assert len(access._known) == 0
    tokens.asked = 0
    admitted(access, "eok_" + "x" * 1000, "stock:write")
    assert tokens.asked == 0
    tokens.known = {f"eok_{number}": KEY for number in range(REMEMBERED_MOST + 50)}
    for token in tokens.known:
        admitted(access, token, "stock:write")
    assert len(access._known) == REMEMBERED_MOST


def test_whoever_was_admitted_is_the_actor_and_whoever_was_not_is_nobody() -> None:
    async def scenario() -> None:
        access, _, _ = gate()

        async def ask(token: str) -> str:
            try:
                await access.require({b"authorization": f"Bearer {token}".encode()}, "stock:write")
            except Refusal:
                pass
            return ACTOR.get()

        names = await asyncio.gather(
            *(asyncio.create_task(ask(t)) for t in ("eos_clerk", "eok_erp", "eos_new"))
        )
        assert names == ["staff:ann", "key:erp", ""]
        assert ACTOR.get() == ""

    asyncio.run(scenario())
