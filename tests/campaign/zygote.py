"""A process that has imported everything and forks others on request, so that a process costs milliseconds.

It reads one JSON object a line and answers each with a line: ``{"fork": "module:function", "arguments": [...]}`` gives
the pid of a new process that calls the function, ``{"reap": pid}`` waits for its end and gives its exit code, negative
for the signal that killed it. When its input ends, whatever it has forked is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]


class Zygote:
    """Starts processes through one that forks.

    Args:
        errors: a file to which the processes write their standard error.
        modules: what is imported before the first fork.
    """

    def __init__(self, errors: Path, *modules: str) -> None:
        with errors.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.campaign.zygote", *modules],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._answer()  # it has imported everything

    def fork(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Call a module's function in a new process; returns its pid."""
        name = f"{function.__module__}:{function.__qualname__}"
        return self._ask({"fork": name, "arguments": list(map(str, arguments))})

    def reap(self, pid: int) -> int:
        """Wait for the end of a process; returns its exit code, or minus the signal that killed it."""
        return self._ask({"reap": pid})

    def kill(self, pid: int) -> int:
        """Kill a process; returns its exit code, which is 0 where it had ended by itself."""
        os.kill(pid, signal.SIGKILL)
        return self.reap(pid)

    def close(self) -> None:
        """Kill whatever is left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _ask(self, question: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the zygote is gone; what did it write to its standard error?"
        return int(answer)


def _fork(name: str, arguments: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # The lines to and from the driver are the zygote's alone.
        with open(os.devnull, "r+b") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(nothing.fileno(), 1)
        module, _, function = name.partition(":")
        getattr(import_module(module), function)(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _serve() -> NoReturn:
    alive: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "fork" in asked:
            answer = _fork(asked["fork"], asked["arguments"])
            alive.add(answer)
        else:
            _, status = os.waitpid(asked["reap"], 0)
            alive.discard(asked["reap"])
            answer = os.waitstatus_to_exitcode(status)
        print(answer, flush=True)
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    for module in sys.argv[1:]:
        import_module(module)
    print(os.getpid(), flush=True)
    _serve()
