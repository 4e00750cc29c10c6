"""How a command fails: in three parts on stderr (what, where, what to do), with the exit code that belongs to it."""

from __future__ import annotations

import re
import shlex
import traceback
from collections.abc import Sequence
from typing import Any

import click

FAILED, USAGE, NOT_FOUND, TIMED_OUT = 1, 2, 3, 4

# By name, so that nothing of the library is imported for an error of usage. The first that fits counts.
CODES = {
    "RunNotFound": NOT_FOUND,
    "StepNotFound": NOT_FOUND,
    "ResultNotFound": NOT_FOUND,
    "PackageNotRegistered": NOT_FOUND,
    "ExecutorNotRegistered": NOT_FOUND,
    "WaitTimeout": TIMED_OUT,
    "RunFailed": FAILED,
    "RunCanceled": FAILED,
    "InvalidTransition": FAILED,
    "SchemaTooNew": FAILED,
    "StoreError": FAILED,
    "FlowkitError": USAGE,
}
"""The exit code of each error by its class, or by the nearest class above it."""

_MODULE = "name the module that declares it: -m MODULE, FLOWKIT_MODULES, or modules in [tool.flowkit]"

HINTS = {
    "RunNotFound": "`flowkit runs` lists those that are there",
    "StepNotFound": "`flowkit show {run_id}` lists its steps",
    "RunCanceled": "`flowkit retry {run_id}` makes it run again",
    "RunFailed": "`flowkit show {run_id}` has the traceback; `flowkit retry {run_id}` makes it run again",
    "PackageNotRegistered": _MODULE,
    "ExecutorNotRegistered": _MODULE,
    "RunConflict": "choose another --run-id, or leave it out",
    "SchemaTooNew": "use the flowkit that wrote it, or a newer one",
}
"""What to do next in the words of the command line, where the error speaks of Python calls."""

_WHOLE_OR_CUT = re.compile(r"""\((?:[^()]|\([^()]*\))*\)|(?<!\w)(?:'[^']*'|"[^"]*")(?!\w)|; """)

WORDS = {"force=True fences the attempt that runs": "--force takes it from the worker that runs it"}
"""Hints of the library in the words of the command line."""


class CommandFailed(Exception):
    """A command that cannot go on.

    Args:
        what: what happened, without a full stop.
        where: the store, file or command that it is about.
        hint: what to do next.
        code: the exit code.
        before: lines that are printed first, as of a traceback.
    """

    def __init__(
        self, what: str, *, where: str = "", hint: str = "", code: int = USAGE, before: Sequence[str] = ()
    ) -> None:
        super().__init__(what)
        self.before = before
        self.what = what
        self.where = where
        self.hint = hint
        self.code = code

    def lines(self) -> list[str]:
        """Return what is printed; a part that says nothing is left out."""
        parts = (("error", self.what), ("where", self.where), ("hint", self.hint))
        return [*self.before, *(f"{name}: {text}" for name, text in parts if text)]


def failure_of(error: Exception, where: str = "") -> CommandFailed | None:
    """Return what to tell of an error; None for one that nobody expects, whose traceback is worth more.

    Args:
        where: what the command was at, if the error does not say.
    """
    if isinstance(error, CommandFailed):
        error.where = error.where or where
        return error
    if isinstance(error, click.ClickException):
        return _of_usage(error)
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "flowkit.errors"]
    return _of_flowkit(error, names, where) if "FlowkitError" in names else _of_entrypoint(error)


def _of_entrypoint(error: Exception) -> CommandFailed | None:
    from flowkit.runtime.starting import call_entrypoint

    walked = list(traceback.walk_tb(error.__traceback__))
    called = [at for at, (frame, _) in enumerate(walked) if frame.f_code is call_entrypoint.__code__]
    own = traceback.StackSummary.extract(iter(walked[called[-1] + 1 :])) if called else None
    if not own:
        return None
    what = "".join(traceback.format_exception_only(type(error), error)).strip()
    where = f"{own[0].filename}:{own[0].lineno}, in {own[0].name}"
    hint = "the entrypoint of the package raised it; nothing was stored"
    before = ["Traceback (most recent call last):", *"".join(own.format()).splitlines()]
    return CommandFailed(what, where=where, hint=hint, code=FAILED, before=before)


def _of_usage(error: click.ClickException) -> CommandFailed:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "flowkit"
    what = error.format_message().rstrip(".")
    hint = f"{where} --help"
    if "--store" in what and context is not None and context.parent is None:
        hint = "options come after the command: flowkit runs --store URL"
    return CommandFailed(what[:1].lower() + what[1:], where=where, hint=hint, code=error.exit_code)


def _of_flowkit(error: Any, names: list[str], where: str) -> CommandFailed:
    code = next(CODES[name] for name in names if name in CODES)
    hint = next((HINTS[name] for name in names if name in HINTS), None)
    what, rest = _parted(str(error))
    if "InvalidInput" in names:
        # It lists all that does not fit; none of that is a hint.
        return CommandFailed(str(error), where=where, code=code)
    if hint is None:
        return CommandFailed(what, where=where, hint=WORDS.get(rest, rest), code=code)
    if "RunFailed" in names:
        # It lists failed steps by semicolons; none of them is a hint.
        what, rest = str(error), ""
    near = f"{rest.partition('?')[0]}? " if rest.startswith("did you mean") else ""
    told = hint.format(run_id=shlex.quote(getattr(error, "run_id", "RUN")))
    return CommandFailed(what, where=where, hint=near + told, code=code)


def _parted(message: str) -> tuple[str, str]:
    # What happened ends at the first semicolon, but for those in parentheses and in what is quoted, as an id.
    cut = next((found for found in _WHOLE_OR_CUT.finditer(message) if found[0] == "; "), None)
    return (message[: cut.start()], message[cut.end() :]) if cut else (message, "")
