"""Puts concrete things together: the only place that knows which process runs what, and with which secrets.

`python -m everopen.compose ROLE …` is what the supervisor and the guardian start. Each role imports only what it
needs, so a gateway never loads trading and a guardian stays small.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from everopen.base.errors import EveropenError, StartError
from everopen.base.home import Home
from everopen.base.process import Identity
from everopen.base.secrets import load_or_create
from everopen.cluster.account import Account, reachable, service_account
from everopen.cluster.binaries import locate
from everopen.cluster.node import Node
from everopen.config import Configuration, load


def python(*arguments: str) -> tuple[str, ...]:
    """A command that runs this package with this interpreter."""
    return (sys.executable, "-m", "everopen.compose", *arguments)


def data_root(home: Home, account: Account) -> Path:
    """Where nodes and books lie: in the home, or, when the unprivileged account can't get there (a home under /root),
    in /var/lib/everopen with a link from the home."""
    root = home.root
    if account.switch and not reachable(home.root, account):
        root = home.shared_root / home.digest
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        home.shared_root.chmod(0o755)
        for link in (home.nodes, home.payments_books.parent):
            target = root / link.name
            target.mkdir(exist_ok=True)
            if link.is_dir() and not link.is_symlink():
                link.rmdir()
            if not link.is_symlink():
                link.symlink_to(target)
    for folder in (root / home.nodes.name, root / home.payments_books.parent.name):
        folder.mkdir(exist_ok=True)
        account.own(folder)
    return root


def node_sockets(home: Home, account: Account) -> Path:
    """The folder of PostgreSQL's sockets; the account may write there."""
    folder = home.run / "pg"
    folder.mkdir(exist_ok=True, mode=0o755)
    account.own(folder)
    return folder


def node_names(home: Home, wanted: int) -> tuple[str, ...]:
    """The nodes of this shop: the recorded leader always among them, whatever the number of standbys is set to."""
    from everopen.cluster import state

    names = [f"node-{number}" for number in range(1, wanted + 2)]
    facts = state.load(home.state_file)
    if facts is not None and facts.leader not in names:
        names[-1] = facts.leader
    return tuple(names)


def nodes_of(
    home: Home, configuration: Configuration, account: Account
) -> tuple[tuple[Node, ...], Path, int]:
    """The nodes, the folder they lie in, and PostgreSQL's major version."""
    secrets, _ = load_or_create(home.secrets_file)
    binaries = locate(configuration.cluster.postgres_bin, account, home.shared_root)
    root = data_root(home, account) / home.nodes.name
    sockets = node_sockets(home, account)
    found = tuple(
        Node(
            name, int(name.rsplit("-", 1)[1]) - 1, nodes=root, sockets=sockets, logs=home.logs, settings=configuration.cluster,
            binaries=binaries, account=account, secrets=secrets,
        )
        for name in node_names(home, configuration.cluster.standbys)
    )  # fmt: skip
    return found, root, binaries.major


def worker_count(configuration: Configuration) -> int:
    """By setting, else one per core: at least two, so that one may die."""
    return configuration.recover.workers or max(2, min(16, os.cpu_count() or 2))


def gateway_count(configuration: Configuration) -> int:
    """By setting, else one for each four cores: at least two, so that one may die."""
    return configuration.gateway.processes or max(2, min(16, (os.cpu_count() or 2) // 4))


def run_supervisor(home: Home, arguments: argparse.Namespace) -> int:
    """The supervisor of this home."""
    import asyncio
    import socket

    from everopen.recover import supervisor
    from everopen.recover.children import ChildSpec
    from everopen.recover.startup import Wiring

    configuration, _ = load()
    account = service_account(configuration.cluster.run_as_user)
    secrets, _ = load_or_create(home.secrets_file)
    nodes, root, major = nodes_of(home, configuration, account)

    def url(descriptor: int) -> str:
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            host, port = listener.getsockname()[:2]
        return f"{host}:{port}"

    shop, console = url(arguments.listen_fd), url(arguments.console_fd)
    base = ("--home", str(home.root))
    children = [
        ChildSpec("payments", "payments", python("payments", *base, "--name", "payments")),
        *(ChildSpec(f"worker-{i}", "worker", python("worker", *base, "--name", f"worker-{i}")) for i in range(1, worker_count(configuration) + 1)),
        *(
            ChildSpec(
                f"gateway-{i}", "gateway", python("gateway", *base, "--name", f"gateway-{i}", "--listen-fd", str(arguments.listen_fd)),
                (arguments.listen_fd,), public=shop,
            )
            for i in range(1, gateway_count(configuration) + 1)
        ),
        ChildSpec(
            "console", "console", python("console", *base, "--name", "console", "--listen-fd", str(arguments.console_fd)),
            (arguments.console_fd,), public=console,
        ),
    ]  # fmt: skip
    descriptors = (arguments.listen_fd, arguments.console_fd, arguments.lock_fd)

    async def prepare(node: Node, new: bool) -> None:
        """In a process of its own: what migrations and the catalogue load must not stay in the supervisor."""
        command = python("prepare", *base, "--name", node.name, *(("--new",) if new else ()))
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await child.communicate()
        if child.returncode:
            lines = [line.strip() for line in errors.decode(errors="replace").splitlines() if line.strip()]
            with open(home.logs / "prepare.log", "ab") as log:
                log.write(errors)
            cause, *rest = [line.removeprefix("everopen: ") for line in lines[-2:]] or ["no message"]
            raise StartError(
                f"The database could not be prepared: {cause}",
                " ".join(rest) or f"See {home.logs / 'prepare.log'}.",
            )

    async def scheduled_drills(say: Callable[[str], None]) -> None:
        from everopen.base.clock import SystemClock
        from everopen.drill.schedule import keep_drilling

        environment = {**os.environ, "EVEROPEN_HOME": str(home.root)}
        await keep_drilling(
            configuration.drill, SystemClock(), environment=environment, log=home.logs / "drill.log", say=say
        )

    pid, ticks = arguments.guardian.split(":")
    return supervisor.main(
        Wiring(
            home=home, cluster=configuration.cluster, recover=configuration.recover, secrets=secrets, nodes=nodes, nodes_root=root, major=major,
            prepare=prepare, children=tuple(children), environment=dict(os.environ), guardian=Identity(int(pid), int(ticks)),
            guardian_command=python("guardian", *base, *descriptor_arguments(descriptors)), descriptors=descriptors,
            companion=None if configuration.drill.schedule == "off" else scheduled_drills,
            shop_url=f"http://{shop}", console_url=f"http://{console}",
        )
    )  # fmt: skip


def run_prepare(home: Home, arguments: argparse.Namespace) -> None:
    """Brings the schema of a primary up to date, and fills a new shop."""
    import asyncio

    from everopen.opening import prepare_database

    configuration, _ = load()
    account = service_account(configuration.cluster.run_as_user)
    secrets, _ = load_or_create(home.secrets_file)
    nodes, _, _ = nodes_of(home, configuration, account)
    node = next(node for node in nodes if node.name == arguments.name)
    asyncio.run(prepare_database(node, secrets, configuration, arguments.new))


def descriptor_arguments(descriptors: tuple[int, int, int]) -> tuple[str, ...]:
    """The inherited sockets and the lock, by number."""
    return (
        "--listen-fd",
        str(descriptors[0]),
        "--console-fd",
        str(descriptors[1]),
        "--lock-fd",
        str(descriptors[2]),
    )


def run_guardian(home: Home, descriptors: tuple[int, int, int], living: Identity | None = None) -> int:
    """Holds the sockets and keeps a supervisor alive until told to close."""
    from everopen.recover import guardian, registry

    configuration, _ = load()
    return guardian.guard(
        python("supervisor", "--home", str(home.root), *descriptor_arguments(descriptors)),
        descriptors=descriptors,
        environment=dict(os.environ),
        beat=home.run / "supervisor.beat",
        beat_deadline_s=configuration.shop.beat_deadline_s,
        serving=lambda: registry.serving(home.processes_file),
        supervisor=living,
    )


def _dropper(configuration: Configuration) -> Callable[[], None]:
    return service_account(configuration.cluster.run_as_user).drop


def run_gateway(home: Home, arguments: argparse.Namespace) -> None:
    """A gateway on the inherited socket."""
    from everopen.gateway import main as gateway

    configuration, _ = load()
    gateway.run(
        configuration.gateway, name=arguments.name, listen_fd=arguments.listen_fd, topology_file=home.topology_file,
        admin_socket=arguments.socket, drop_privileges=_dropper(configuration),
    )  # fmt: skip


def run_worker(home: Home, arguments: argparse.Namespace) -> None:
    """A worker on its own Unix socket."""
    from everopen.api import main as api
    from everopen.trading.payments.stripe import stripe_setup

    configuration, _ = load()
    secrets, _ = load_or_create(home.secrets_file)
    api.run(
        configuration.api, configuration.trading, configuration.store, configuration.people, name=arguments.name, socket=arguments.socket,
        topology_file=home.topology_file, app_password=secrets.app, operator_key=secrets.operator_key,
        payments_socket=payments_socket(home), stripe=stripe_setup(configuration.stripe), drop_privileges=_dropper(configuration), events=configuration.events,
    )  # fmt: skip


def payments_socket(home: Home) -> Path:
    """A name that always leads to the present payments process (its own socket has a new name at each start)."""
    return home.run / "payments.sock"


def run_payments(home: Home, arguments: argparse.Namespace) -> None:
    """The sandbox payment provider with its own books."""
    from everopen.trading.payments import sandbox_server, signing

    configuration, _ = load()
    secrets, _ = load_or_create(home.secrets_file)
    settings = configuration.sandbox
    if not settings.webhook_url and configuration.shop.port:
        url = f"http://127.0.0.1:{configuration.shop.port}/api/payments/sandbox/webhooks"
        settings = msgspec.structs.replace(settings, webhook_url=url)
    books = Path(os.path.realpath(home.payments_books))
    temporary = home.run / f".payments.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(arguments.socket)
    os.replace(temporary, payments_socket(home))
    sandbox_server.run(
        settings, socket=arguments.socket, books=books, drop_privileges=_dropper(configuration),
        webhook_secret=signing.sandbox_secret(secrets.operator_key),
    )  # fmt: skip


def run_console(home: Home, arguments: argparse.Namespace) -> None:
    """The operator's page and the metrics."""
    from everopen.console import main as console

    configuration, _ = load()
    console.run(
        configuration.console,
        home=home,
        listen_fd=arguments.listen_fd,
        admin_socket=arguments.socket,
        drop_privileges=_dropper(configuration),
    )


RUNNERS: dict[str, Callable[[Home, argparse.Namespace], None]] = {
    "prepare": run_prepare,
    "gateway": run_gateway,
    "worker": run_worker,
    "payments": run_payments,
    "console": run_console,
}


def main() -> int:
    """Command line of the processes; people use `everopen`."""
    parser = argparse.ArgumentParser(prog="everopen.compose", description=main.__doc__)
    parser.add_argument("role", choices=("guardian", "supervisor", *RUNNERS))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--listen-fd", type=int)
    parser.add_argument("--console-fd", type=int)
    parser.add_argument("--lock-fd", type=int)
    parser.add_argument("--guardian", default="")
    parser.add_argument("--supervisor", default="")
    parser.add_argument("--new", action="store_true")
    arguments = parser.parse_args()
    home = Home(arguments.home)
    home.create()
    try:
        match arguments.role:
            case "guardian":
                pid, ticks = arguments.supervisor.split(":")
                return run_guardian(
                    home,
                    (arguments.listen_fd, arguments.console_fd, arguments.lock_fd),
                    Identity(int(pid), int(ticks)),
                )
            case "supervisor":
                return run_supervisor(home, arguments)
            case role:
                RUNNERS[role](home, arguments)
    except EveropenError as error:
        print(f"everopen: {error.cause}\n          {error.next_step}", file=sys.stderr, flush=True)
        if arguments.role == "supervisor":
            from everopen.recover.supervisor import exit_code

            return exit_code(home)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
