"""`everopen up` and `everopen down`."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import click

from everopen import compose
from everopen.base import process
from everopen.base.errors import EveropenError, StartError
from everopen.base.home import Home, home_from_environment
from everopen.base.secrets import load_or_create
from everopen.base.topology import TopologyReader
from everopen.config import load
from everopen.recover import registry
from everopen.recover.status import describe


@click.command("up")
@click.option(
    "--detach", "-d", is_flag=True, help="Return once the shop is open; close it with `everopen down`."
)
def up_command(detach: bool) -> int:
    """Open the shop: database with standby, workers, gateways, console.

    \b
    everopen up                            in the foreground; Ctrl-C closes everything cleanly
    everopen up --detach                   in the background
    EVEROPEN_SHOP_PORT=9000 everopen up    on another port
    """
    configuration, _ = load()
    if os.environ.get("EVEROPEN_CONFIG"):
        os.environ["EVEROPEN_CONFIG"] = os.path.abspath(os.environ["EVEROPEN_CONFIG"])
    elif Path("everopen.toml").exists():
        os.environ["EVEROPEN_CONFIG"] = os.path.abspath("everopen.toml")
    home = home_from_environment()
    os.environ["EVEROPEN_HOME"] = str(home.root)
    try:
        home.create()
        lock = _lock(home)
    except OSError as error:
        raise StartError(
            f"{error.filename or home.root} can't be used: {error.strerror}.",
            "Point EVEROPEN_HOME at a folder that you may write to.",
        ) from error
    if detach:
        os.close(lock)
        return _detached(home)
    _clear_leftovers(home)
    shop = _listen("shop", configuration.shop.host, configuration.shop.port)
    console = _listen("console", configuration.console.host, configuration.console.port)
    secrets, made = load_or_create(home.secrets_file)
    if made:
        click.echo(
            "A key for staff calls (prices, stock, refunds) was made; it is shown this once and kept in "
            f"{home.secrets_file}:\n\n    Authorization: Bearer {secrets.operator_key}\n"
        )
    sys.stdout.flush()
    for listener in (shop, console):
        os.set_inheritable(listener.fileno(), True)
    return compose.run_guardian(home, (shop.fileno(), console.fileno(), lock))


@click.command("down")
@click.option(
    "--timeout", default=90.0, show_default=True, help="Seconds to wait until everything has ended."
)
def down_command(timeout: float) -> int:
    """Close the shop: finish requests, write everything down, end all processes.

    \b
    everopen down
    """
    home = home_from_environment()
    living = registry.living(registry.load(home.processes_file))
    patience = time.monotonic() + 10
    while not living and _is_locked(home) and time.monotonic() < patience:  # one is just starting
        time.sleep(0.05)
        living = registry.living(registry.load(home.processes_file))
    by_role = {record.role: record for record in living}
    if not living:
        click.echo("No shop is running here.")
        return 0
    chief = by_role.get("guardian") or by_role.get("supervisor")
    if chief is None:
        raise EveropenError(
            "Guardian and supervisor are both gone; only their processes live.",
            "Run `everopen up` once: it takes them over; then close it.",
        )
    process.send(chief.identity, signal.SIGTERM)
    process.send(chief.identity, signal.SIGCONT)  # it may have been stopped (Ctrl-Z)
    deadline = time.monotonic() + timeout
    while any(process.alive(record.identity) for record in living):
        if time.monotonic() > deadline:
            left = ", ".join(record.name for record in living if process.alive(record.identity))
            raise EveropenError(
                f"Still running after {timeout:.0f} s: {left}.", f"See the logs in {home.logs}."
            )
        time.sleep(0.05)
    click.echo("Closed.")
    return 0


def _lock(home: Home) -> int:
    """One guardian and supervisor per home. The lock lives as long as either of them."""
    descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        found = registry.load(home.processes_file)
        where = f" at {found.shop_url}" if found else ""
        raise StartError(
            f"A shop already runs in {home.root}{where}.",
            "`everopen status` shows it, `everopen down` closes it.",
        ) from None
    return descriptor


def _is_locked(home: Home) -> bool:
    try:
        descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _clear_leftovers(home: Home) -> None:
    """After guardian and supervisor were both killed: gateways and console still hold the ports, so they are ended
    (their queued connections are lost); workers and nodes go on and are adopted."""
    for record in registry.living(registry.load(home.processes_file)):
        if record.role in ("gateway", "console"):
            process.send(record.identity, signal.SIGKILL)


def _listen(what: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for attempt in range(20):
        try:
            listener.bind((host, port))
            listener.listen(4096)
            return listener
        except OSError as error:
            if attempt == 19:
                setting = f"EVEROPEN_{what.upper()}_PORT"
                raise StartError(
                    f"The {what} can't listen on {host}:{port}: {error.strerror}.",
                    f"See what uses it (ss -ltnp 'sport = :{port}'), or choose another: {setting}={port + 10 if port else 8090} everopen up. Nothing was changed.",
                ) from error
            time.sleep(0.05)
    raise AssertionError


def _detached(home: Home) -> int:
    """Starts the foreground form in a session of its own and waits until the shop is open."""
    log = home.logs / "up.log"
    with open(log, "wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "everopen.cli", "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    shown = 0
    while True:
        text = log.read_text(errors="replace")
        click.echo(text[shown:], nl=False)
        shown = len(text)
        if child.poll() is not None:
            return child.returncode
        found = registry.load(home.processes_file)
        if (
            found is not None
            and found.phase == "open"
            and any(entry.pid == child.pid for entry in found.processes)  # not what a killed one left
        ):
            document = describe(found, TopologyReader(home.topology_file).current(), process.alive)
            if document["state"] != "closed":
                click.echo(log.read_text(errors="replace")[shown:], nl=False)
                return 0
        time.sleep(0.05)
