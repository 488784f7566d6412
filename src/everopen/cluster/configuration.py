"""The configuration files of one node, written outside its data directory, so that base backups and rewinds, which
copy everything inside, never bring another node's settings along."""

from __future__ import annotations

from pathlib import Path

import msgspec

from everopen.base.topology import write_atomically
from everopen.cluster.account import Account
from everopen.cluster.settings import ClusterSettings


class NodeConfiguration(msgspec.Struct, frozen=True):
    """What differs from node to node and changes with roles."""

    name: str
    port: int
    data: Path
    sockets: Path
    epoch: int
    follow: str | None = None
    """Connection string of the primary to stream from; None on a primary."""
    synchronous: tuple[str, ...] = ()
    """Standbys of which one must confirm each commit."""


def memory_bytes() -> int:
    """Main memory of this machine, or the limit of its control group when that is smaller."""
    import psutil

    total = int(psutil.virtual_memory().total)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit.isdigit():
            total = min(total, int(limit))
    except OSError:
        pass
    return total


def shared_buffers_mb(settings: ClusterSettings) -> int:
    """By setting, else 1/32 of the memory between 64 MB and 1 GB: two nodes and their callers share the machine."""
    return settings.shared_buffers_mb or max(64, min(1024, memory_bytes() // 2**20 // 32))


def quote(value: str) -> str:
    """A string for postgresql.conf."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def render(settings: ClusterSettings, node: NodeConfiguration) -> str:
    """postgresql.conf of a node; each unusual value has its reason in the notes on PostgreSQL under failover."""
    names = ", ".join(f'"{name}"' for name in node.synchronous)
    values: dict[str, str] = {
        "data_directory": quote(str(node.data)),
        "hba_file": quote(str(node.data.parent / "pg_hba.conf")),
        "ident_file": quote(str(node.data.parent / "pg_ident.conf")),
        "external_pid_file": "''",
        "listen_addresses": "''",
        "port": str(node.port),
        "unix_socket_directories": quote(str(node.sockets)),
        "unix_socket_permissions": "0777",  # the folder and scram decide who gets in
        "cluster_name": quote(node.name),
        "everopen.epoch": quote(str(node.epoch)),
        "max_connections": str(settings.max_connections),
        "superuser_reserved_connections": "10",
        "shared_buffers": f"{shared_buffers_mb(settings)}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "64MB",
        "jit": "off",
        "max_worker_processes": "4",
        "max_parallel_workers_per_gather": "0",
        "max_logical_replication_workers": "0",
        "wal_level": "replica",
        "synchronous_commit": "on",
        "synchronous_standby_names": quote(f"ANY 1 ({names})" if names else ""),
        "max_wal_size": f"{settings.max_wal_size_mb}MB",
        "min_wal_size": f"{max(16, min(256, settings.max_wal_size_mb // 4))}MB",
        "wal_keep_size": f"{settings.wal_keep_mb}MB",
        "wal_log_hints": "on",
        "wal_buffers": "8MB",
        "checkpoint_timeout": "5min",
        "max_wal_senders": "10",
        "max_replication_slots": "10",
        "wal_sender_timeout": "5s",
        "wal_receiver_timeout": "5s",
        "wal_receiver_status_interval": "1s",
        "wal_retrieve_retry_interval": "100ms",
        "hot_standby": "on",
        "hot_standby_feedback": "off",
        "max_standby_streaming_delay": "2s",
        "restart_after_crash": "off",  # the supervisor decides
        "scram_iterations": "1",  # our passwords are 256 random bits: stretching them only slows a failover down
        "log_min_messages": "warning",
        "log_line_prefix": quote("%m [%p] %q%u@%d "),
        "log_checkpoints": "off",
        "log_lock_waits": "on",
        "deadlock_timeout": "500ms",
        "idle_in_transaction_session_timeout": "60s",
        "timezone": "'UTC'",
        "datestyle": "'ISO'",
        "autovacuum_naptime": "20s",
        "recovery_target_timeline": "'latest'",
    }
    if node.follow is not None:
        values["primary_conninfo"] = quote(node.follow)
    lines = [
        f"# Written by Everopen for {node.name}; changes are overwritten. Settings: [cluster] in everopen.toml."
    ]
    return "\n".join(lines + [f"{key} = {value}" for key, value in values.items()]) + "\n"


HBA = """# Written by Everopen. Unix sockets only; every role has a generated password.
local  all          postgres              scram-sha-256
local  replication  everopen_replication  scram-sha-256
local  everopen     everopen_app          scram-sha-256
local  everopen     everopen_audit        scram-sha-256
"""


def write(settings: ClusterSettings, node: NodeConfiguration, account: Account) -> Path:
    """Writes all files of a node beside its data directory and returns the path of postgresql.conf."""
    folder = node.data.parent
    main = folder / "postgresql.conf"
    for path, text in (
        (folder / "pg_hba.conf", HBA),
        (folder / "pg_ident.conf", ""),
        (main, render(settings, node)),
    ):
        write_atomically(path, text.encode(), mode=0o600)
        account.own(path)
    return main
