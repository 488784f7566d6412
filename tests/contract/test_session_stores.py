"""What holds for every session store; a newcomer in `SESSION_STORES` is taken in by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest

from everopen.base.ids import secret_token, uuid7
from everopen.trading.sessions import SESSION_STORES, SessionStore, SessionStoreDown
from tests.integration.trading.conftest import SandboxProcess, Shop, node, sandbox, shop
from tests.support.redis import MISSING, PROGRAM, RedisServer, running_redis

__all__ = ["SandboxProcess", "node", "sandbox", "shop"]  # fixtures of the trading room

Scenario = Callable[[Callable[[], SessionStore]], Awaitable[None]]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer | None]:
    if PROGRAM is None:
        yield None
        return
    with running_redis() as server:
        yield server


@pytest.fixture(params=sorted(SESSION_STORES))
def run(request: pytest.FixtureRequest, shop: Shop, redis: RedisServer | None) -> Callable[..., None]:
    """Runs a scenario with a maker of stores, each as another worker would have it."""
    name = str(request.param)
    if name == "redis" and redis is None:
        pytest.skip(MISSING)
    url = "" if redis is None else redis.url

    def start(scenario: Scenario, *, days: float = 1.0) -> None:
        async def all_of_it() -> None:
            async with shop.worker() as worker:
                made: list[SessionStore] = []

                def make() -> SessionStore:
                    made.append(SESSION_STORES[name](worker.primary, url, days))
                    return made[-1]

                try:
                    await scenario(make)
                finally:
                    for store in made:
                        await store.stop()

        asyncio.run(all_of_it())

    return start


def test_a_session_of_one_worker_is_good_on_every_other(run: Callable[..., None]) -> None:
    async def scenario(make: Callable[[], SessionStore]) -> None:
        one, other = make(), make()
        token, cart, customer = secret_token(), uuid7(), uuid7()
        opened = await one.open(token, cart, customer)
        assert (opened.cart_id, opened.customer_id) == (cart, customer)
        assert await other.find(token) == opened
        assert await other.find(secret_token()) is None

    run(scenario)


def test_opening_again_keeps_what_the_token_stands_for(run: Callable[..., None]) -> None:
    async def scenario(make: Callable[[], SessionStore]) -> None:
        store, token, cart = make(), secret_token(), uuid7()
        first = await store.open(token, cart)
        again = await asyncio.gather(*(store.open(token, uuid7()) for _ in range(5)))
        assert [session.cart_id for session in again] == [cart] * 5
        assert await store.find(token) == first

    run(scenario)


def test_a_closed_session_is_unknown(run: Callable[..., None]) -> None:
    async def scenario(make: Callable[[], SessionStore]) -> None:
        one, other, token = make(), make(), secret_token()
        await one.open(token, uuid7())
        await other.close(token)
        await other.close(token)
        assert await one.find(token) is None

    run(scenario)


def test_all_sessions_of_a_customer_end_but_the_one_he_is_in(run: Callable[..., None]) -> None:
    async def scenario(make: Callable[[], SessionStore]) -> None:
        store, cart, customer = make(), uuid7(), uuid7()
        tokens = [secret_token() for _ in range(4)]
        for token in tokens:
            await store.open(token, cart, customer)
        stranger = secret_token()
        await store.open(stranger, uuid7(), uuid7())
        assert await store.close_all(customer, but=tokens[0]) == 3
        assert [await store.find(token) is not None for token in tokens] == [True, False, False, False]
        assert await store.find(stranger) is not None
        assert await store.close_all(customer) == 1
        assert await store.close_all(uuid7()) == 0

    run(scenario)


def test_an_unused_session_ends(run: Callable[..., None]) -> None:
    async def scenario(make: Callable[[], SessionStore]) -> None:
        store, token = make(), secret_token()
        await store.open(token, uuid7())
        await asyncio.sleep(1.2)
        assert await store.find(token) is None

    run(scenario, days=1 / 86_400)


def test_many_at_once_are_kept_apart(run: Callable[..., None]) -> None:
    async def scenario(make: Callable[[], SessionStore]) -> None:
        store, carts = make(), {secret_token(): uuid7() for _ in range(100)}
        await asyncio.gather(*(store.open(token, cart) for token, cart in carts.items()))
        found = await asyncio.gather(*(store.find(token) for token in carts))
        assert [session and session.cart_id for session in found] == list(carts.values())

    run(scenario)


@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
def test_a_redis_that_is_away_is_named_and_comes_back_with_its_sessions(shop: Shop) -> None:
    async def scenario() -> None:
        with running_redis() as server:
            async with shop.worker() as worker:
                store = SESSION_STORES["redis"](worker.primary, server.url, 1.0)
                token, cart = secret_token(), uuid7()
                await store.open(token, cart)
                server.kill()
                with pytest.raises(SessionStoreDown) as told:
                    await store.find(token)
                assert "Redis" in told.value.cause
                server.start()
                found = await store.find(token)
                assert found is not None
                assert found.cart_id == cart
                server.send(signal.SIGSTOP)
                begun = asyncio.get_running_loop().time()
                with pytest.raises(SessionStoreDown):
                    await store.find(token)
                assert asyncio.get_running_loop().time() - begun < 10
                server.send(signal.SIGCONT)
                assert await store.find(token) == found
                await store.stop()

    asyncio.run(scenario())
