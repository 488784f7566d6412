"""The desk: everything of trading that a worker needs, wired together."""

from __future__ import annotations

from pathlib import Path

from everopen.base.clock import Clock, Rng
from everopen.base.topology import TopologyReader
from everopen.store import Primary, StoreSettings
from everopen.trading.events.deliverer import Deliverer
from everopen.trading.events.follow import Followers
from everopen.trading.events.line import Line
from everopen.trading.events.relay import Relay
from everopen.trading.events.sender import Sender
from everopen.trading.events.settings import EventsSettings
from everopen.trading.jobs.runner import Runner
from everopen.trading.jobs.table import JOBS
from everopen.trading.lanes import Lanes
from everopen.trading.orders import OrderRequest, Outcome
from everopen.trading.payments import Setup, StripeSetup, make_providers
from everopen.trading.payments.payer import Payer
from everopen.trading.quoting import Quoting
from everopen.trading.settings import TradingSettings


class Trading:
    """Connections, lanes, payer, jobs and events of one worker."""

    def __init__(
        self,
        settings: TradingSettings,
        store: StoreSettings,
        *,
        topology_file: Path,
        app_password: str,
        payments_socket: Path,
        clock: Clock,
        rng: Rng,
        database: str = "everopen",
        sandbox_secret: str = "",
        stripe: StripeSetup | None = None,
        name: str = "",
        events: EventsSettings | None = None,
    ) -> None:
        self.settings = settings
        self.currency = settings.currency
        self.primary = Primary(
            store,
            TopologyReader(topology_file),
            password=app_password,
            clock=clock,
            jitter=rng.random,
            database=database,
        )
        self.providers = make_providers(
            Setup(
                socket=payments_socket,
                timeout_s=settings.payer_timeout_s,
                sandbox_secret=sandbox_secret,
                stripe=stripe,
            )
        )
        self.payer = Payer(
            settings, self.primary, self.providers, clock=clock, rng=rng, busy=lambda: self.lanes.busy()
        )
        self.lanes = Lanes(settings, self.primary, clock=clock, on_placed=self.payer.follow)
        self.quoting = Quoting(settings, self.primary, self.lanes, clock=clock)
        self.runner = Runner(settings, self.primary, JOBS, self.providers, clock=clock, rng=rng, worker=name)
        self.events = events or EventsSettings()
        line = Line(self.primary)
        self.followers = Followers(self.events, line, clock=clock, rng=rng)
        self.deliverer = Deliverer(
            self.events, line, Sender(self.events), clock=clock, rng=rng, busy=lambda: self.lanes.busy()
        )
        self.relay = Relay(self.events, line, rng=rng, busy=lambda: self.lanes.busy(), wake=self._announce)

    async def start(self) -> None:
        """Starts everything and returns at once, also while no primary answers (`ready` is False then)."""
        await self.primary.start()
        await self.lanes.start()
        await self.quoting.start()
        await self.payer.start()
        await self.runner.start()
        await self.relay.start()
        await self.deliverer.start()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Commits the orders in flight, settles what providers answered, closes the connections."""
        await self.lanes.stop(grace_s)
        await self.quoting.stop()
        await self.payer.stop()
        await self.runner.stop()
        await self.relay.stop()
        await self.deliverer.stop()
        await self.followers.stop()
        for provider in self.providers.values():
            await provider.close()
        await self.primary.close()

    def _announce(self) -> None:
        """The relay has numbered new events."""
        self.deliverer.wake()
        self.followers.wake()

    def ready(self) -> bool:
        """Whether this worker holds a verified connection to the primary."""
        return self.primary.ready()

    async def place(self, request: OrderRequest) -> Outcome:
        """Quotes the order by the shop's rules, if there are any, and places it through the lanes (`Lanes.place`)."""
        return await self.quoting.place(request)

    def stats(self) -> dict[str, float]:
        """Flat counters (…_total) and gauges."""
        return {
            **self.primary.counters,
            **self.lanes.counters,
            **self.quoting.counters,
            **self.payer.counters,
            **self.runner.counters,
            **self.relay.counters,
            **self.deliverer.counters,
            **self.followers.counters,
            "lane_orders_waiting": self.lanes.waiting,
            "payments_waiting": self.payer.waiting,
            "jobs_running": self.runner.running,
            "subscribers_served": self.deliverer.serving,
            "event_followers": self.followers.count,
            "store_epoch": self.primary.epoch,
        }
