"""The console process: `/` for people, `/api/status` and `/api/events` for scripts, `/metrics` for Prometheus.

It reads the same files as `everopen status` and asks each process for its counters when Prometheus asks. It holds
nothing, so it may die at any time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 (imported lazily by the loop, too late once root is given up)
import html
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from everopen.base import process
from everopen.base.home import Home
from everopen.base.topology import TopologyReader
from everopen.console.settings import ConsoleSettings
from everopen.recover import registry
from everopen.recover.status import describe

STATES = {"open": 2, "degraded": 1, "closed": 0}


class Console:
    """Answers from the files of one home."""

    def __init__(self, settings: ConsoleSettings, home: Home) -> None:
        self._settings = settings
        self._home = home
        self._topology = TopologyReader(home.topology_file)
        self._registry: registry.Registry | None = None

    def look(self) -> dict[str, Any]:
        """The status document."""
        self._registry = registry.load(self._home.processes_file) or self._registry
        return describe(self._registry, self._topology.current(), process.alive)

    async def status(self, request: Request) -> Response:
        """The status as JSON."""
        return Response(msgspec.json.encode(self.look()), media_type="application/json")

    async def events(self, request: Request) -> Response:
        """The last events as JSON."""
        self.look()
        return Response(
            msgspec.json.encode(self._registry.recent if self._registry else ()),
            media_type="application/json",
        )

    async def page(self, request: Request) -> Response:
        """The status as a page that renews itself."""
        document = self.look()
        recent = self._registry.recent if self._registry else ()
        return HTMLResponse(render(document, [(event.at, event.sentence) for event in recent]))

    async def metrics(self, request: Request) -> Response:
        """All counters of all processes in Prometheus' text format."""
        document = self.look()
        records = (
            [] if self._registry is None else [record for record in self._registry.processes if record.pid]
        )
        sockets = {
            record.name: (record.role, record.endpoint.path if record.socket else record.admin)
            for record in records
            if record.socket or record.admin
        }
        names = [name for name in sockets if sockets[name][1]]
        answers = await asyncio.gather(*(self._stats(str(sockets[name][1])) for name in names))
        families = _families(
            document, {name: (sockets[name][0], stats) for name, stats in zip(names, answers, strict=True)}
        )

        class Once(Collector):
            def collect(self) -> list[Metric]:
                return families

        collected = CollectorRegistry()
        collected.register(Once())
        return PlainTextResponse(
            generate_latest(collected), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def _stats(self, path: str) -> dict[str, float]:
        try:
            async with asyncio.timeout(self._settings.scrape_timeout_s):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"GET /stats HTTP/1.1\r\nHost: everopen\r\nConnection: close\r\n\r\n")
                answer = await reader.read(1 << 20)
                while chunk := await reader.read(1 << 16):
                    answer += chunk
                writer.close()
            return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=dict[str, float])
        except (OSError, TimeoutError, msgspec.DecodeError):
            return {}


def _families(document: dict[str, Any], stats: dict[str, tuple[str, dict[str, float]]]) -> list[Metric]:
    up = GaugeMetricFamily("everopen_process_up", "Whether a process runs.", labels=["name", "role"])
    for entry in document["processes"]:
        up.add_metric([entry["name"], entry["role"]], 1.0 if entry["state"] == "running" else 0.0)
    families: dict[str, Metric] = {
        "": GaugeMetricFamily(
            "everopen_state", "2 open, 1 degraded, 0 closed.", value=STATES[document["state"]]
        ),
        "epoch": GaugeMetricFamily(
            "everopen_epoch", "Grows at each change of primary.", value=document["epoch"]
        ),
        "sync": GaugeMetricFamily(
            "everopen_synchronous_standbys",
            "Standbys that confirm commits.",
            value=len(document["synchronous"]),
        ),
        "up": up,
    }
    for name, (role, counters) in stats.items():
        for counter, value in counters.items():
            key = f"everopen_{role}_{counter}"
            family = families.setdefault(
                key, GaugeMetricFamily(key, f"{counter} as the {role} tells it.", labels=["name"])
            )
            assert isinstance(family, GaugeMetricFamily)
            family.add_metric([name], float(value))
    return list(families.values())


def render(document: dict[str, Any], events: list[tuple[float, str]]) -> str:
    """The page. Everything in it is escaped; it loads nothing from elsewhere."""
    now = time.time()
    rows = "".join(
        "<tr>" + "".join(
            f"<td{' class=' + html.escape(str(entry['state']).split()[0]) if column == 'state' else ''}>{html.escape(str(entry[column] if entry[column] is not None else '–'))}</td>"
            for column in ("name", "role", "pid", "state", "endpoint")
        ) + f"<td>{max(0, now - entry['since']):.0f} s</td></tr>"
        for entry in document["processes"]
    )  # fmt: skip
    lines = "".join(
        f"<li><time>{time.strftime('%H:%M:%S', time.localtime(at))}</time> {html.escape(text)}</li>"
        for at, text in reversed(events)
    )
    state = document["state"]
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="2"><title>Everopen console: {state}</title><style>
body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1c2430;background:#f7f8fa}}
h1{{font-size:1.4rem;margin:0}}table{{border-collapse:collapse;width:100%;background:#fff;margin:1rem 0}}
td,th{{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #e6e9ee;overflow-wrap:anywhere}}th{{color:#667;font-weight:500}}
.badge{{padding:.15rem .6rem;border-radius:1rem;color:#fff}}.open{{background:#1a7f4b}}.degraded{{background:#b26a00}}.closed{{background:#b3261e}}
td.running{{color:#1a7f4b}}td.down{{color:#b3261e}}ul{{list-style:none;padding:0}}time{{color:#667;margin-right:.6rem}}</style>
<h1>Everopen console <span class="badge {state}">{state}</span></h1>
<p>{html.escape(document["sentence"])}</p>
<p>Epoch {document["epoch"]} · durability {html.escape(str(document["durability"]))} · confirmed by {html.escape(", ".join(document["synchronous"]) or "nobody")}</p>
<table><tr><th>name<th>role<th>pid<th>state<th>endpoint<th>since</tr>{rows}</table>
<h2>What happened</h2><ul>{lines}</ul>
<p><a href="/metrics">metrics</a> · <a href="/api/status">status as JSON</a> · <a href="/api/events">events as JSON</a></p></html>"""


def run(
    settings: ConsoleSettings,
    *,
    home: Home,
    listen_fd: int,
    admin_socket: Path,
    drop_privileges: Callable[[], None],
) -> None:
    """Serves until SIGTERM on the inherited socket, and health on `admin_socket`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    console = Console(settings, home)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def stats(request: Request) -> Response:
        return PlainTextResponse("{}")

    application = Starlette(
        routes=[
            Route("/", console.page), Route("/metrics", console.metrics), Route("/api/status", console.status),
            Route("/api/events", console.events), Route("/healthz", healthz), Route("/stats", stats),
        ]
    )  # fmt: skip
    admin_socket.unlink(missing_ok=True)
    private = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    private.bind(str(admin_socket))
    admin_socket.chmod(0o666)
    public = socket.socket(fileno=listen_fd)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)

    async def serve() -> None:
        drop_privileges()  # with the loop running, so that nothing is imported afterwards
        await server.serve(sockets=[public, private])

    uvloop.run(serve())
