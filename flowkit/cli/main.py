"""The command line ``flowkit``: which commands there are, and how each end becomes an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from flowkit.cli.failing import CommandFailed, failure_of
from flowkit.cli.lazy import Entry, LazyGroup, Unread
from flowkit.cli.output import Unwritten, writing
from flowkit.cli.plain import printable

RUNS, WORK, STORE, PROJECT = "Runs", "Work", "Store", "Project"

_AT = "flowkit.cli.commands."

COMMANDS: dict[str, Entry] = {
    "run": Entry(RUNS, _AT + "run:run", "Start a run of a package."),
    "runs": Entry(RUNS, _AT + "runs:runs", "List runs, the newest first."),
    "show": Entry(RUNS, _AT + "show:show", "Show a run: its steps as a tree, and why some of them failed."),
    "watch": Entry(RUNS, _AT + "watch:watch", "Watch a run until it has ended."),
    "graph": Entry(RUNS, _AT + "graph:graph", "Draw the steps of a run, or of a package before it runs."),
    "timeline": Entry(RUNS, _AT + "timeline:timeline", "Show what the time of a run went into."),
    "explain": Entry(RUNS, _AT + "explain:explain", "Say why a step is not running now."),
    "result": Entry(RUNS, _AT + "result:result", "Print a run's output as JSON, or the result of one of its steps."),
    "records": Entry(RUNS, _AT + "records:records", "List the records of a collection, in the order they were stored."),
    "artifact": Entry(RUNS, _AT + "artifact:artifact", "List the artifacts of a run, or get one."),
    "retry": Entry(RUNS, _AT + "retry:retry", "Retry failed or canceled runs, or a step of one."),
    "cancel": Entry(RUNS, _AT + "cancel:cancel", "Cancel runs: those named, or all that fit a filter."),
    "worker": Entry(WORK, _AT + "worker:worker", "Execute the steps of the kinds that the modules declare."),
    "queues": Entry(WORK, _AT + "queues:queues", "List the queues: what waits and runs in each, and its limits."),
    "packages": Entry(WORK, _AT + "catalog:packages", "List what can be started."),
    "executors": Entry(WORK, _AT + "catalog:executors", "List the kinds of steps that can be run."),
    "check": Entry(STORE, _AT + "check:check", "Find what this code, or the store, is not fit for."),
    "torture": Entry(STORE, _AT + "torture:torture", "Run your packages while workers are killed, and say what broke."),
    "doctor": Entry(STORE, _AT + "doctor:doctor", "Say what keeps work from being done."),
    "move": Entry(STORE, _AT + "move:move", "Copy a store to another one, unfinished runs included."),
    "migrate": Entry(STORE, _AT + "migrate:migrate", "Bring the store to the schema version of this flowkit."),
    "prune": Entry(STORE, _AT + "prune:prune", "Remove old runs with all that belongs to them."),
    "init": Entry(PROJECT, _AT + "init:init", "Make a new project with a passing test."),
    "completion": Entry(PROJECT, _AT + "completion:completion", "Print what lets a shell complete flowkit's words."),
    "version": Entry(PROJECT, _AT + "version:version", "Print the version of flowkit."),
}

MEANT = {
    "start": "run",
    "list": "runs",
    "ls": "runs",
    "ps": "runs",
    "status": "show",
    "describe": "show",
    "logs": "watch",
    "tail": "watch",
    "history": "timeline",
    "why": "explain",
    "output": "result",
    "stop": "cancel",
    "kill": "cancel",
    "rerun": "retry",
    "work": "worker",
    "serve": "worker",
    "delete": "prune",
    "upgrade": "migrate",
    "new": "init",
}
"""What other tools call a command."""

INTERRUPTED = 130
BROKEN_PIPE = 141


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        # The package itself is there already: it came with this module.
        click.echo(sys.modules["flowkit"].__version__)
        context.exit()


@click.group(cls=LazyGroup, table=COMMANDS, meant=MEANT, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def flowkit() -> None:
    """Start, watch and mend durable workflows.

    \b
    The store is named by --store URL of a command, else by the environment
    variable FLOWKIT_STORE, else by [tool.flowkit] in pyproject.toml or
    [flowkit] in setup.cfg, here or in a directory above.

    \b
    Exits with 0: done; 1: a run failed, something was found, or the store
    refused; 2: wrong usage or input; 3: not found; 4: a wait timed out;
    130: interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line, by default this process's own, and exit as it ended."""
    with open(os.devnull, "w") as nobody:
        # What whoever started it has closed is nothing that is read.
        sys.stdout, sys.stderr = sys.stdout or nobody, sys.stderr or nobody
        sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; an error that is no bug is told on stderr."""
    try:
        code = flowkit.main(arguments, prog_name="flowkit", standalone_mode=False)
        with writing():
            sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except (Unread, BrokenPipeError):
        return _stop_printing()
    except Unwritten as unwritten:
        _stop_printing()
        return _tell(unwritten)
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        return _tell(failure)
    return code if isinstance(code, int) else 0


def _stop_printing() -> int:
    # Whoever reads has seen enough. Python flushes stdout once more at its end, which must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
    return BROKEN_PIPE


def _tell(failure: CommandFailed) -> int:
    for line in failure.lines():
        click.echo(printable(line), err=True)
    return failure.code
