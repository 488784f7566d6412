"""Runs one gateway process: `gateway_process.py FOLDER NAME FD SETTINGS_JSON`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec

from everopen.gateway.main import run
from everopen.gateway.settings import GatewaySettings


class NoLazyImports:
    """After privileges are dropped a process may not be able to read the Python installation any more."""

    def find_spec(self, name: str, *_: object) -> None:
        print(f"LAZY IMPORT of {name}", file=sys.stderr, flush=True)
        raise ImportError(f"{name} was imported after the privileges were dropped")


def forbid_imports() -> None:
    sys.meta_path.insert(0, NoLazyImports())  # type: ignore[arg-type]


if __name__ == "__main__":
    folder, name, descriptor, settings = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    run(
        msgspec.json.decode(settings, type=GatewaySettings),
        name=name,
        listen_fd=int(descriptor),
        topology_file=Path(folder) / "topology.json",
        admin_socket=Path(folder) / f"{name}.admin",
        drop_privileges=forbid_imports,
    )
