"""`everopen jobs`, `everopen subscribers` and `everopen events replay`: what the shop does by itself and whom it tells."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any
from urllib.parse import quote

import click
import msgspec
from rich.table import Table

from everopen.cli.replay_client import ShopClient, find_operator_key, find_url
from everopen.cli.status import show_events
from everopen.telemetry.screen import open_screen

_URL = click.option("--url", help="The shop's address; default: EVEROPEN_URL, else http://127.0.0.1:8080.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")


@click.group("jobs", invoke_without_command=True)
@click.option("--status", type=click.Choice(["waiting", "running", "done", "dead"]), help="Only those.")
@click.option("--name", help="Only those.")
@click.option("--last", default=40, show_default=True, type=click.IntRange(1, 200), help="How many.")
@_JSON
@_URL
@click.pass_context
def jobs_group(
    context: click.Context, status: str | None, name: str | None, last: int, as_json: bool, url: str | None
) -> None:
    """Show what the shop does by itself and later, newest first; `retry` tries a dead job again."""
    if context.invoked_subcommand is not None:
        return
    wanted = {"limit": str(last), "status": status, "name": name}
    query = "&".join(f"{key}={quote(value)}" for key, value in wanted.items() if value)
    page = _call("GET", f"/api/jobs?{query}", url)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(page)).decode())
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "job", "status", "due", "attempt", "worker", "said"):
        table.add_column(column, overflow="fold")
    for job in page["jobs"]:
        colour = {"dead": "bold red", "running": "yellow"}.get(job["status"], "")
        state = f"[{colour}]{job['status']}[/]" if colour else job["status"]
        due = job["due_at"][:19].replace("T", " ")
        table.add_row(
            str(job["id"]), job["name"], state, due, str(job["attempt"]), job["worker"], job["said"]
        )
    open_screen().print(table)


@jobs_group.command("retry")
@click.argument("number", type=click.IntRange(1))
@_URL
def retry_command(number: int, url: str | None) -> None:
    """Try a dead job again, once its cause is mended.

    \b
    everopen jobs --status dead
    everopen jobs retry 4711
    """
    job = _call("POST", f"/api/jobs/{number}/retry", url)
    click.echo(f"Job {job['id']} ({job['name']}) will be tried again.")


@click.command("subscribers")
@_JSON
@_URL
def subscribers_command(as_json: bool, url: str | None) -> None:
    """Show who is told of events by webhook, and how well it goes.

    \b
    everopen subscribers
    """
    found: list[Any] = []
    after = ""
    while True:
        page = _call("GET", f"/api/subscribers?limit=200{after}", url)
        found += page["subscribers"]
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "url", "topics", "status", "behind", "waiting", "dead", "why"):
        table.add_column(column, overflow="fold")
    for one in found:
        why = one["reason"] or (f"failing since {one['failing_since']}" if one["failing_since"] else "")
        table.add_row(
            one["id"],
            one["url"],
            ", ".join(one["topics"]) or "all",
            one["status"],
            str(one["behind"]),
            str(one["waiting"]),
            str(one["dead"]),
            why,
        )
    open_screen().print(table)


@click.group("events", invoke_without_command=True)
@click.option("--last", default=40, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.pass_context
def events_group(context: click.Context, last: int, as_json: bool) -> None:
    """Show what happened to the shop lately, one sentence each, newest last; `replay` tells subscribers again.

    \b
    everopen events --last 10
    """
    if context.invoked_subcommand is None:
        show_events(last, as_json)


@events_group.command("replay")
@click.argument("subscriber")
@click.option("--after", help="Everything since this event (evt_…), instead of the dead letters.")
@_URL
def replay_command(subscriber: str, after: str | None, url: str | None) -> None:
    """Send a subscriber its dead letters again, or everything since an event.

    \b
    everopen subscribers
    everopen events replay 0193c2f4-5a3e-7bd1-9f21-3c5d1e0a7b44
    everopen events replay 0193c2f4-5a3e-7bd1-9f21-3c5d1e0a7b44 --after evt_4711
    """
    body = {} if after is None else {"after": after}
    answer = _call("POST", f"/api/subscribers/{quote(subscriber, safe='')}/replay", url, body)
    if answer["revived"] is None:
        click.echo(f"Everything since {after} is sent again.")
    else:
        click.echo(f"{answer['revived']} dead letters are sent again.")


def _call(method: str, path: str, url: str | None, body: Any = None) -> Any:
    async def ask() -> Any:
        async with ShopClient(find_url(url), operator_key=find_operator_key(), patience_s=10.0) as client:
            return (await client.call(method, path, body, None if method == "GET" else uuid.uuid4().hex))[0]

    return asyncio.run(ask())
