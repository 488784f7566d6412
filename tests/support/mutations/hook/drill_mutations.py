"""The mutations that live in processes: name → module → what is done to it right after it was imported."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4


def commit_without_waiting(store: Any) -> None:
    """Orders are acknowledged, and payments settled (they would else hold the stock), when they are in the primary's memory."""
    link = store.Primary.link

    def careless(self: Any, name: str, **options: str) -> Any:
        if name.startswith(("lane", "payer")):
            options["synchronous_commit"] = "off"
        return link(self, name, **options)

    store.Primary.link = careless


def stay_with_the_old_primary(store: Any) -> None:
    """A worker keeps its connection although the epoch moved on."""
    store.Link.overtaken = lambda self, epoch, now_s: False


def promote_without_fence(node: Any) -> None:
    """Nobody makes sure that the old primary is dead."""

    async def fence(self: Any) -> None:
        return None

    node.Node.fence = fence


def leave_the_old_primary_alone(keeper: Any) -> None:
    """And nobody tidies it up soon after, either."""
    rejoin = keeper.ClusterKeeper._rejoin

    async def later(self: Any, life: Any) -> None:
        await asyncio.sleep(5)
        await rejoin(self, life)

    keeper.ClusterKeeper._rejoin = later


def fail_over_late(keeper: Any) -> None:
    """A failover takes much longer than promised."""
    promote = keeper.ClusterKeeper._promote

    async def slow(self: Any, life: Any) -> None:
        await asyncio.sleep(7)
        await promote(self, life)

    keeper.ClusterKeeper._promote = slow


def give_up_at_once(reader: Any) -> None:
    """The gateway never sends a request again."""
    begin = reader.Request.__init__

    def unrepeatable(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        self.repeatable = False

    reader.Request.__init__ = unrepeatable


def charge_with_fresh_keys(sandbox: Any) -> None:
    """The provider is asked twice, each time under a key of its own."""
    charge = sandbox.SandboxProvider.charge

    async def twice(self: Any, movement: Any) -> Any:
        from msgspec.structs import replace

        await charge(self, replace(movement, id=uuid4()))
        return await charge(self, movement)

    sandbox.SandboxProvider.charge = twice


def remember_sessions_in_memory(postgres: Any) -> None:
    """A session is known only to the worker that opened it."""
    known: dict[str, Any] = {}
    store = postgres.PostgresSessions
    open_session = store.open

    async def opened(self: Any, token: str, cart_id: UUID, customer_id: UUID | None = None) -> Any:
        known[token] = await open_session(self, token, cart_id, customer_id)
        return known[token]

    async def found(self: Any, token: str) -> Any:
        return known.get(token)

    store.open, store.find, store.beside_carts = opened, found, False


class _Standby:
    """Where a read goes that does not care how old its answer is."""

    def __init__(self, primary: Any) -> None:
        self._primary = primary

    def link(self, *_: Any, **__: Any) -> Any:
        return self

    async def run(self, work: Any, **_: Any) -> Any:
        import asyncpg

        primary = self._primary
        endpoint = primary.topology.standbys[0].endpoint
        connection = await asyncpg.connect(
            host=endpoint.path, port=endpoint.port, user=primary.user, password=primary.password,
            database=primary.database,
        )  # fmt: skip
        try:
            return await work(connection)
        finally:
            connection.terminate()


def read_orders_from_a_standby(find: Any) -> None:
    """Orders are looked up where they may not have arrived yet."""
    order_reads = find.order_reads
    find.order_reads = lambda primary: order_reads(_Standby(primary))


def read_stock_from_a_standby(catalogue: Any) -> None:
    """So is what is available."""
    find_product = catalogue.find_product
    catalogue.find_product = lambda primary, currency, sku: find_product(_Standby(primary), currency, sku)


def forget_what_failed(rounds: Any) -> None:
    """An event that a subscriber did not take is not sent again."""
    judge = rounds.judge

    def content(*arguments: Any) -> Any:
        return judge(*arguments)._replace(held=[], failures=0)

    rounds.judge = content


MUTATIONS: dict[str, dict[str, Any]] = {
    "asynchronous commits": {"everopen.store.primary": commit_without_waiting},
    "no fence": {
        "everopen.cluster.node": promote_without_fence,
        "everopen.recover.keeper": leave_the_old_primary_alone,
    },
    "old primary kept": {"everopen.store.primary": stay_with_the_old_primary},
    "late failover": {"everopen.recover.keeper": fail_over_late},
    "gateway without retries": {"everopen.gateway.request_reader": give_up_at_once},
    "fresh keys for the provider": {"everopen.trading.payments.sandbox": charge_with_fresh_keys},
    "sessions in memory": {"everopen.trading.sessions.postgres": remember_sessions_in_memory},
    "failed events are forgotten": {"everopen.trading.events.rounds": forget_what_failed},
    "stale reads": {
        "everopen.trading.find": read_orders_from_a_standby,
        "everopen.trading.catalogue": read_stock_from_a_standby,
    },
}
