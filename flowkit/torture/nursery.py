"""A process that has imported the user's modules and forks the workers to be tortured, which takes milliseconds.

It reads one JSON object a line and answers each with a line: ``{"work": job}`` gives the pid of a new worker,
``{"ask": pid}`` its exit code, null while it runs. It ends with its input, and its workers end with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import attrs

from flowkit.errors import ConfigError
from flowkit.runtime.discovery import discover
from flowkit.torture.child import Job, work
from flowkit.torture.faults import WrongClock

_COMMAND = [sys.executable, "-m", "flowkit.torture.nursery"]


class Nursery:
    """Starts workers.

    Args:
        modules: what is imported before.

    Raises:
        ConfigError: this system has no ``fork``, or the modules cannot be imported by a process of their own.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        if not hasattr(os, "fork"):
            raise ConfigError("torture: expected a system with fork() and SIGSTOP, such as Linux or macOS")
        command = [*_COMMAND, json.dumps([sys.path, list(modules)])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._answer() != "ready":
            raise ConfigError(f"torture: a new process cannot import {', '.join(modules)}; its output says why")

    def start(self, job: Job) -> int:
        """Start a worker and return its pid."""
        return int(self._ask({"work": attrs.asdict(job)}))

    def code(self, pid: int) -> int | None:
        """Return how a worker ended, minus the signal that killed it; None while it runs."""
        code = self._ask({"ask": pid})
        return None if code is None else int(code)

    def close(self) -> None:
        """End it and its workers."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None


def _serve(answer: Callable[[Any], None]) -> None:
    spawned: dict[int, subprocess.Popen[bytes]] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "work" in asked:
            answer(_begin(asked["work"], spawned))
        elif asked["ask"] in spawned:
            answer(spawned[asked["ask"]].poll())
        else:
            pid, status = os.waitpid(asked["ask"], os.WNOHANG)
            answer(os.waitstatus_to_exitcode(status) if pid else None)


def _begin(told: dict[str, Any], spawned: dict[int, subprocess.Popen[bytes]]) -> int:
    if threading.active_count() > 1:
        # The modules have started threads, which a forked process would be without: then each begins anew.
        command = [
            sys.executable,
            "-m",
            "flowkit.torture.nursery",
            json.dumps([sys.path, []]),
            json.dumps(told),
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        spawned[process.pid] = process
        return process.pid
    parent = os.getpid()
    pid = os.fork()
    return pid if pid else _child(told, parent)


def _child(told: dict[str, Any], parent: int) -> NoReturn:
    code = 1
    try:
        work(Job(**{**told, "clock": WrongClock(**told["clock"])}), parent)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(arguments: Sequence[str]) -> None:
    """Be a nursery; with a second argument, be the worker that it describes."""
    sys.path[:], modules = json.loads(arguments[0])
    if len(arguments) > 1:
        _child(json.loads(arguments[1]), os.getppid())
    # Ctrl-C is for the process that asks; when that ends, so do this one and the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the user's modules print is not for whoever asks for workers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for _ in discover(modules):
        pass

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer("ready")
    _serve(answer)


if __name__ == "__main__":
    main(sys.argv[1:])
