"""The command group. Subcommands load when they are called, so that `everopen status` answers quickly."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from everopen import __version__
from everopen.base.errors import EveropenError

COMMANDS = {
    "up": ("everopen.cli.up", "up_command"),
    "down": ("everopen.cli.up", "down_command"),
    "status": ("everopen.cli.status", "status_command"),
    "audit": ("everopen.cli.audit", "audit_command"),
    "ledger": ("everopen.cli.ledger", "ledger_group"),
    "reconcile": ("everopen.cli.reconcile", "reconcile_command"),
    "config": ("everopen.cli.settings", "config_command"),
    "import": ("everopen.cli.import_catalog", "import_group"),
    "export": ("everopen.cli.export_catalog", "export_group"),
    "replay": ("everopen.cli.replay", "replay_command"),
    "bench": ("everopen.bench.commands", "bench_group"),
    "drill": ("everopen.drill.commands", "drill_group"),
    "events": ("everopen.cli.durable", "events_group"),
    "subscribers": ("everopen.cli.durable", "subscribers_command"),
    "jobs": ("everopen.cli.durable", "jobs_group"),
    "staff": ("everopen.cli.staff", "staff_group"),
    "completion": ("everopen.cli.completion", "completion_command"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="everopen")
def root() -> None:
    """Everopen: an e-commerce trading backend that stays open.

    \b
    everopen up                     open the shop in the foreground (Ctrl-C closes it)
    everopen status                 what runs, who leads, who confirms
    everopen audit                  prove that stock, money and orders add up

    All state is in EVEROPEN_HOME (default ./var); settings come from everopen.toml and EVEROPEN_SECTION_NAME.
    Exit codes: 0 fine, 1 a check failed, 2 wrong use or setting, 3 the shop can't start, 4 no shop is running,
    5 the cluster refused, 6 no primary answered, 7 books that do not add up.
    """


def run(arguments: list[str] | None = None) -> int:
    """Runs a command; errors become two lines on standard error and an exit status."""
    try:
        result: Any = root.main(args=arguments, prog_name="everopen", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except EveropenError as error:
        print(f"everopen: {error.cause}", file=sys.stderr)
        if error.next_step:
            print(f"          {error.next_step}", file=sys.stderr)
        return error.exit_code
    except click.exceptions.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        return 141
