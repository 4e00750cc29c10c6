"""The command ``completion``."""

from __future__ import annotations

import click

PROGRAM = "flowkit"
VARIABLE = "_FLOWKIT_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what lets a shell complete flowkit's words.

    Commands, options, packages, and the ids of runs and steps.

    \b
    eval "$(flowkit completion bash)"       # in ~/.bashrc
    eval "$(flowkit completion zsh)"        # in ~/.zshrc
    flowkit completion fish | source        # in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    root = click.get_current_context().find_root()
    assert found is not None, f"click completes {shell}"
    click.echo(found(root.command, {}, PROGRAM, VARIABLE).source())
