"""The built-in plan `quick`, cut short, from the command line: a scratch shop is broken and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

TIMING = {"recovered_in_time"}
"""A machine that runs other tests beside keeps no times; a drill run by itself does."""


def everopen(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVEROPEN_")}
    return subprocess.run(
        [sys.executable, "-m", "everopen.cli", *arguments],
        env={**environment, "EVEROPEN_HOME": str(home)},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.timeout(220)
def test_quick_loses_nothing_and_leaves_a_report(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = everopen(
        home, "drill", "run", "--plan", "quick", "--seconds", "22", "--rate", "40", "--scratch", "--json"
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    wrong = [verdict for verdict in report["verdicts"] if not verdict["ok"] and verdict["name"] not in TIMING]
    assert wrong == []
    assert done.returncode == (0 if report["ok"] else 1)
    assert report["injections"] >= 4
    assert report["acknowledged"] > 200
    assert (report["lost"], report["doubled"], report["summary"]["failed"]) == (0, 0, 0)
    assert all(entry["whole"] and entry["healed"] for entry in report["timeline"])

    (folder,) = (home / "drills").iterdir()
    assert {path.name for path in folder.iterdir()} >= {
        "report.json",
        "report.html",
        "telemetry.jsonl",
        "timeline.json",
    }
    page = (folder / "report.html").read_text()
    HTMLParser().feed(page)
    assert page.count("<polyline") == 5
    assert "http://" not in page.replace("http://www.w3.org", "")
    seconds = [json.loads(line) for line in (folder / "telemetry.jsonl").read_text().splitlines()]
    assert len(seconds) >= 20
    assert {"worker", "gateway", "primary", "standby"} <= {one["role"] for one in seconds[0]["processes"]}
    assert all(one["clients"]["answered"] for one in seconds[3:18] if one["clients"])

    again = everopen(home, "drill", "report", "--json")
    assert json.loads(again.stdout) == report
    listed = everopen(home, "drill", "report", "--all")
    assert folder.name in listed.stdout
