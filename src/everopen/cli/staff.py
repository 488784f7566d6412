"""`everopen staff`: accounts and API keys from the shop's own machine, with the operator key, for the night on which nobody
else can get in. Everything goes through the API, so it is in the audit log like anything else."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import click
from rich.table import Table

from everopen.base.errors import InputError
from everopen.cli.replay_client import ShopClient, find_operator_key, find_url
from everopen.telemetry.screen import open_screen

ROLES = ("owner", "manager", "catalogue", "fulfilment", "support", "auditor")
_URL = click.option("--url", help="Where the shop is (default: EVEROPEN_URL, else http://127.0.0.1:8080).")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")


# --- what the commands do -----------------------------------------------------------------------------------------


async def list_staff(client: ShopClient) -> list[dict[str, Any]]:
    """All accounts."""
    found: list[dict[str, Any]] = (await client.call("GET", "/api/staff"))[0]["staff"]
    return found


async def list_keys(client: ShopClient) -> list[dict[str, Any]]:
    """All API keys."""
    found: list[dict[str, Any]] = (await client.call("GET", "/api/staff/keys"))[0]["keys"]
    return found


async def add(client: ShopClient, login: str, roles: list[str], name: str) -> dict[str, Any]:
    """A new account with its first password."""
    return await client.staff("/api/staff", {"login": login, "roles": roles, "name": name}, _key())


async def reset(client: ShopClient, login: str, *, second_factor: bool) -> dict[str, Any]:
    """Another first password for an account."""
    found = await find(client, login)
    return await client.staff(f"/api/staff/{found['id']}/reset", {"second_factor": second_factor}, _key())


async def end(client: ShopClient, login: str) -> dict[str, Any]:
    """Ends an account."""
    found = await find(client, login)
    return (await client.call("PATCH", f"/api/staff/{found['id']}", {"active": False}, _key()))[0]


async def make_key(client: ShopClient, name: str, scopes: list[str], days: float | None) -> dict[str, Any]:
    """A new API key."""
    return await client.staff("/api/staff/keys", {"name": name, "scopes": scopes, "days": days}, _key())


async def revoke(client: ShopClient, named: str) -> list[dict[str, Any]]:
    """Ends the key of an id, or all keys of a name."""
    found = [key for key in await list_keys(client) if named in (key["id"], key["name"])]
    if not found:
        raise InputError(f"There is no API key {named!r}.", "`everopen staff list --keys` shows all.")
    living = [key for key in found if key["revoked_at"] is None]
    return [(await client.call("DELETE", f"/api/staff/keys/{key['id']}", None, _key()))[0] for key in living]


async def find(client: ShopClient, login: str) -> dict[str, Any]:
    """The account of a login. Raises InputError."""
    for account in await list_staff(client):
        if account["login"].casefold() == login.casefold():
            return account
    raise InputError(f"There is no staff account {login!r}.", "`everopen staff list` shows all.")


def _key() -> str:
    return f"staff-{uuid.uuid4()}"


def _run(url: str | None, work: Callable[[ShopClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with ShopClient(find_url(url), operator_key=find_operator_key()) as client:
            return await work(client)

    return asyncio.run(run())


# --- the commands -------------------------------------------------------------------------------------------------


@click.group("staff")
def staff_group() -> None:
    """Staff accounts and API keys, with the operator key.

    \b
    Examples:
      everopen staff add ann@example.org --role manager
      everopen staff list
    """


@staff_group.command("add")
@click.argument("login")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="May be repeated."
)
@click.option("--name", default="", help="How people call them.")
@_URL
@_JSON
def add_command(login: str, roles: tuple[str, ...], name: str, url: str | None, as_json: bool) -> None:
    """Make an account for LOGIN. The first password is shown once; it has to be changed at the first login.

    \b
    everopen staff add ann@example.org --role manager
    everopen staff add joe --role fulfilment --role catalogue --name "Joe"
    """
    made = _run(url, lambda client: add(client, login, list(roles), name))
    _say_password(made, as_json)


@staff_group.command("list")
@click.option("--keys", is_flag=True, help="API keys instead of accounts.")
@_URL
@_JSON
def list_command(keys: bool, url: str | None, as_json: bool) -> None:
    """Show accounts, or API keys.

    \b
    everopen staff list
    everopen staff list --keys --json
    """
    found = _run(url, list_keys if keys else list_staff)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = ("name", "scopes", "made by", "ends", "last used", "id") if keys else (
        "login", "roles", "state", "second factor", "last login"
    )  # fmt: skip
    for column in columns:
        table.add_column(column, overflow="fold")
    for item in found:
        table.add_row(*(_key_row(item) if keys else _account_row(item)))
    open_screen().print(table)


def _account_row(item: dict[str, Any]) -> tuple[str, ...]:
    state = "first password" if item["must_change_password"] else "active"
    return (
        item["login"],
        ", ".join(item["roles"]),
        state if item["active"] else "ended",
        "yes" if item["second_factor"] else "no",
        (item["last_login_at"] or "never")[:16],
    )


def _key_row(item: dict[str, Any]) -> tuple[str, ...]:
    ends = "revoked" if item["revoked_at"] else (item["expires_at"] or "never")[:10]
    used = (item["last_used_at"] or "never")[:16]
    return item["name"], ", ".join(item["scopes"]), item["made_by"], ends, used, item["id"]


@staff_group.command("reset")
@click.argument("login")
@click.option(
    "--second-factor", is_flag=True, help="Take the second factor away too (telephone and codes are lost)."
)
@_URL
@_JSON
def reset_command(login: str, second_factor: bool, url: str | None, as_json: bool) -> None:
    """Give LOGIN another first password; sessions end, and waits after wrong guesses too.

    \b
    everopen staff reset ann@example.org
    everopen staff reset ann@example.org --second-factor
    """
    made = _run(url, lambda client: reset(client, login, second_factor=second_factor))
    _say_password(made, as_json)


@staff_group.command("end")
@click.argument("login")
@_URL
@_JSON
def end_command(login: str, url: str | None, as_json: bool) -> None:
    """End the account of LOGIN, with its sessions and API keys, within seconds.

    \b
    everopen staff end joe
    """
    found = _run(url, lambda client: end(client, login))
    click.echo(
        json.dumps(found, ensure_ascii=False) if as_json else f"{found['login']} can't get in any more."
    )


@staff_group.command("key")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, help="What it may do, such as stock:write; may be repeated."
)
@click.option(
    "--days", type=float, default=90, show_default=True, help="When it ends; 0: when it is revoked."
)
@click.option("--revoke", "ending", is_flag=True, help="End the key of that name or id instead.")
@_URL
@_JSON
def key_command(
    name: str, scopes: tuple[str, ...], days: float, ending: bool, url: str | None, as_json: bool
) -> None:
    """Make an API key for a program. Its token is shown once.

    \b
    everopen staff key warehouse --scope stock:write --scope orders:read
    everopen staff key warehouse --revoke
    """
    if ending:
        ended = _run(url, lambda client: revoke(client, name))
        click.echo(json.dumps(ended, ensure_ascii=False) if as_json else f"Ended {len(ended)} keys.")
        return
    if not scopes:
        raise click.UsageError("A key needs at least one --scope.")
    made = _run(url, lambda client: make_key(client, name, list(scopes), days or None))
    if as_json:
        click.echo(json.dumps(made, ensure_ascii=False))
        return
    click.echo(f"Key {made['key']['name']} ({made['key']['id']}); its token, shown this once:")
    click.echo(f"  {made['token']}")


def _say_password(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(made, ensure_ascii=False))
        return
    account = made["account"]
    click.echo(f"{account['login']} ({', '.join(account['roles'])}); the first password, shown this once:")
    click.echo(f"  {made['password']}")
    click.echo("It has to be changed at the first login (POST /api/staff/login).")
