"""The command line: `everopen up`, `down`, `status`, `audit`, `import`, `replay`, `bench`, `config`, `staff`. Commands look at the
rooms below and never at each other."""

from __future__ import annotations


def main() -> int:
    """Entry point of the `everopen` command; returns the exit status."""
    from everopen.cli.root import run

    return run()
