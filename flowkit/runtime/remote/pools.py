"""Attempts that run outside this process: in flowkit's own processes, or wherever the program's executors run them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from flowkit.errors import ConfigError, RuntimeClosed
from flowkit.model.definitions import ExecutorDef
from flowkit.model.step import Settlement
from flowkit.runtime.attempts import Attempt
from flowkit.runtime.pools import Pool, RemoteRun
from flowkit.runtime.process.pool import Died, Finished, Killed, ProcessPool, Raised, Returned
from flowkit.runtime.registry import Registry
from flowkit.runtime.remote.child import find_definition, serve
from flowkit.runtime.remote.desk import Desk
from flowkit.runtime.remote.executors import ExecutorRunner
from flowkit.runtime.services import Services

PROCESS = "process"
"""The name of flowkit's own pool."""

_TARGET = f"{serve.__module__}:{serve.__qualname__}"


class RemotePools:
    """The remote pools of one Runtime, by the name that ``@executor(pool=...)`` says.

    Args:
        pools: the program's executors.
        size: how many processes at once, for ``"process"``.
        services: what attempts elsewhere may ask of this Runtime.

    Attributes:
        custom_converter: the Runtime was given a converter; it does not reach other processes, so there are no remote
            pools with one.
    """

    def __init__(self, pools: Mapping[str, Executor], size: int, services: Services, registry: Registry) -> None:
        self.custom_converter = False
        self._executors = dict(pools)
        self._size = size
        self._desk = Desk(services, registry)
        self._lock = threading.Lock()
        self._processes: ProcessPool | None = None

    def __call__(self, name: str, run: RemoteRun) -> Pool:
        """Return a pool for one crew; the crews of a Runtime share what it runs on.

        Raises:
            ConfigError: no pool has this name.
        """
        if name == PROCESS:
            return ProcessRunner(run, self._desk, self._process_pool())
        if name not in self._executors:
            raise ConfigError(f"no pool is called {name!r}; {self._known()}")
        return ExecutorRunner(name, self._executors[name], run, self._desk)

    def _process_pool(self) -> ProcessPool:
        with self._lock:
            if self._processes is None:
                self._processes = ProcessPool(self._size)
            return self._processes

    def _known(self) -> str:
        names = ", ".join(repr(name) for name in (PROCESS, *sorted(self._executors)))
        return f"this Runtime has {names}; others are given as Runtime(pools={{name: executor}})"

    def check(self, definition: ExecutorDef) -> None:
        """Refuse an executor that could not run in the pool it names.

        Raises:
            ConfigError: there is no such pool, the executor cannot be found by name in another process, or the
                Runtime has a converter of its own.
        """
        pool = definition.pool
        if pool is None:
            return
        owner = f"executor {definition.kind!r} ({definition.place}): pool {pool!r}"
        if pool != PROCESS and pool not in self._executors:
            raise ConfigError(f"{owner} does not exist; {self._known()}")
        if self.custom_converter:
            raise ConfigError(
                f"{owner} runs outside this process, where Runtime(converter=) does not reach; leave one of the two out"
            )
        problem = _name_problem(definition)
        if problem:
            raise ConfigError(
                f"{owner} finds the executor by name, but {problem}; define it at the top level of a module"
            )

    def close(self) -> None:
        """End the processes; the program's executors stay as they are."""
        with self._lock:
            pool = self._processes
        if pool is not None:
            pool.close(kill=True)


def _name_problem(definition: ExecutorDef) -> str | None:
    module, qualname = definition.module, definition.qualname
    if "<" in qualname:  # <locals>, <lambda>
        return f"{qualname} has no name that can be imported"
    if module == "__main__" and definition.pool == PROCESS and not _main_is_a_file():
        return "the main module is no file that a process could import"
    try:
        found = find_definition(module, qualname, definition.kind)
    except ConfigError as error:
        return str(error)
    if (found.module, found.qualname) != (module, qualname):
        return f"{module}:{qualname} is {found.module}:{found.qualname}"
    return None


def _main_is_a_file() -> bool:
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is not None or os.path.isfile(getattr(main, "__file__", None) or "")


class ProcessRunner:
    """Runs attempts of one crew in flowkit's own processes; what has to stop is killed."""

    def __init__(self, run: RemoteRun, desk: Desk, pool: ProcessPool) -> None:
        self._run = run
        self._desk = desk
        self._pool = pool

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Start attempts."""
        for attempt in attempts:
            self._start(attempt)

    def _start(self, attempt: Attempt) -> None:
        task = self._desk.task(attempt, can_ask=True)
        try:
            ticket = self._pool.submit(
                task,
                _TARGET,
                lambda message: self._desk.hear(attempt, message, self._run.begin),
                lambda ending: self._run.finish(attempt, self._ended(attempt, ending)),
            )
        except RuntimeClosed:
            self._run.finish(attempt, self._desk.stopped(attempt))
            return
        attempt.interruptible(ticket.kill)

    def _ended(self, attempt: Attempt, ending: Finished) -> Settlement:
        match ending:
            case Returned(body):
                return self._desk.report(attempt, body)
            case Killed():
                return self._desk.stopped(attempt)
            case Died():
                return self._desk.lost(attempt, _death(ending))
            case Raised(text):
                return self._desk.lost(attempt, f"the process could not run the attempt:\n{text}")

    def close(self) -> None:
        """Nothing of its own to close: the processes serve the Runtime's other crews."""


def _death(ending: Died) -> str:
    if ending.reason:
        return ending.reason
    how = f"exit code {ending.exitcode}"
    if ending.exitcode is None:
        how = "an exit code that the program took, by waiting for its children or ignoring SIGCHLD"
    elif ending.exitcode < 0:
        known = {int(one): one.name for one in signal.Signals}
        how = known.get(-ending.exitcode, f"signal {-ending.exitcode}")
    if not ending.has_begun:
        return f"the process ended with {how} while it started: what it imports, the main module included, ended it"
    return f"the process that ran the attempt ended with {how}"
