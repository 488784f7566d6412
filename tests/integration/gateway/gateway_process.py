"""Runs one gateway process: `gateway_process.py FOLDER NAME FD SETTINGS_JSON`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec

from everopen.gateway.main import run
from everopen.gateway.settings import GatewaySettings

if __name__ == "__main__":
    folder, name, descriptor, settings = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    run(
        msgspec.json.decode(settings, type=GatewaySettings),
        name=name,
        listen_fd=int(descriptor),
        topology_file=Path(folder) / "topology.json",
        admin_socket=Path(folder) / f"{name}.admin",
        drop_privileges=lambda: None,
    )
