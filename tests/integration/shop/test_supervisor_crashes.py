"""A supervisor that ends at the worst moment: the next one finds everything, and no history is mixed up."""

from __future__ import annotations

import json
import os
import signal
import time

from tests.support.shop import Shop, scratch_home


def test_supervisors_that_fail_while_starting_lose_nobody_and_end_nothing() -> None:
    """A configuration that is broken, and facts that can't be written, while the shop is open."""
    with scratch_home() as home:
        settings = home.parent / "everopen.toml"
        settings.write_text("")
        shop = Shop(home, EVEROPEN_CONFIG=str(settings))
        try:
            shop.up()
            shop.until_whole()
            before = {
                role: shop.pids(role) for role in ("gateway", "worker", "payments", "primary", "standby")
            }
            settings.write_text("nonsense = [")
            os.kill(shop.pids("supervisor")[0], signal.SIGKILL)
            time.sleep(1.5)
            assert shop.order("85123A").status_code == 201
            settings.write_text("")
            supervisor = shop.until(lambda document: document["state"] == "open")
            for _ in range(3):  # killed again within the first moments of its life
                for entry in supervisor["processes"]:
                    if entry["role"] == "supervisor" and entry["pid"]:
                        os.kill(entry["pid"], signal.SIGKILL)
                known = {entry["pid"] for entry in supervisor["processes"] if entry["role"] == "supervisor"}
                supervisor = shop.until(
                    lambda document, known=known: any(  # type: ignore[misc]
                        entry["role"] == "supervisor" and entry["pid"] and entry["pid"] not in known
                        for entry in document["processes"]
                    )
                )  # fmt: skip
            shop.until_whole()
            assert {role: shop.pids(role) for role in before} == before, "adopted, not doubled"
        finally:
            shop.close()


def test_a_promotion_that_was_killed_halfway_opens_a_timeline_of_its_own() -> None:
    """PostgreSQL removes standby.signal before it opens the new timeline. Started as a primary in that state, it would
    go on with the timeline of the former primary, and nobody could tell their histories apart."""
    with scratch_home() as home:
        shop = Shop(home)
        try:
            shop.up()
            shop.until_whole()
            assert shop.order("85123A").status_code == 201
            assert shop.run("down").returncode == 0
            facts = json.loads((home / "state.json").read_text())
            facts |= {"epoch": 2, "leader": "node-2", "synchronous": [], "alone": True, "rejoin": ["node-1"]}
            (home / "state.json").write_text(json.dumps(facts))
            data = home / "nodes" / "node-2" / "data"
            (data / "standby.signal").unlink()
            shop.up()
            shop.until_whole()
            assert (data / "pg_wal" / "00000002.history").exists()
            assert shop.run("audit").returncode == 0
        finally:
            shop.close()


def test_a_stopped_guardian_can_still_be_told_to_close() -> None:
    with scratch_home() as home:
        shop = Shop(home, EVEROPEN_CLUSTER_STANDBYS="0")
        try:
            shop.up()
            os.kill(shop.pids("guardian")[0], signal.SIGSTOP)
            assert shop.run("down", "--timeout", "40").returncode == 0
        finally:
            shop.close()
