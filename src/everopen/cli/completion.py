"""`everopen completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    everopen completion bash >> ~/.bashrc
    everopen completion fish > ~/.config/fish/completions/everopen.fish
    """
    from everopen.cli.root import root

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(root, {}, "everopen", "_EVEROPEN_COMPLETE").source())
    return 0
