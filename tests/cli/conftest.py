"""The command line as people use it: each command is a process of its own in a directory of its own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
import pytest

from flowkit import Runtime
from flowkit.testing import FakeClock

ROOT = Path(__file__).parents[2]
SECONDS = 60
STORE = "sqlite:///var/app.db"

DEMO = '''\
"""What the stories of the command line run."""

from attrs import frozen

from flowkit import Permanent, Retry, Retryable, RunBuilder, StepContext, StepHandle, executor, package


@frozen
class Order:
    id: str
    items: list[str] = []


@executor("shop/charge", retry=Retry(max_attempts=2, initial=0))
def charge(step: StepContext, order: Order) -> str:
    if order.id == "broke":
        raise Permanent("no_money", "the card was refused", details={"card": "4711"})
    if order.id == "flaky" and step.attempt == 1:
        raise Retryable("busy", "the bank is busy")
    return f"receipt for {order.id}"


@executor("shop/pack")
def pack(step: StepContext, item: str) -> str:
    step.record("parcels", item, {"grams": 10 * len(item)})
    step.artifact("label.txt", f"To whom it may concern: {item}")
    return f"packed {item}"


@executor("shop/ship", queue="trucks")
def ship(step: StepContext, *, receipt: str, parcels: list[str]) -> dict[str, object]:
    for number, parcel in enumerate(parcels):
        step.emit(f"notify-{number}", "shop/notify", parcel)
    return {"receipt": receipt, "parcels": parcels}


@executor("shop/notify")
def notify(step: StepContext, parcel: str) -> None:
    return None


@package("order", display_name="Order")
def order(run: RunBuilder, input: Order) -> StepHandle[dict[str, object]]:
    run.name = f"Order {input.id}"
    receipt = run.step("charge", charge, input)
    parcels = run.map("pack", pack, input.items, after=receipt)
    return run.step("ship", ship, receipt=receipt, parcels=parcels)
'''

SLOW = '''\
"""Steps that take as long as the test wants: until there is a file named go."""

import time
from pathlib import Path

from flowkit import RunBuilder, StepContext, executor, package


@executor("slow/hold", queue="slow")
def hold(step: StepContext, number: int) -> int:
    while not Path("go").exists():
        step.raise_if_canceled()
        time.sleep(0.02)
    return number


@package("slow")
def slow(run: RunBuilder, count: int = 1) -> None:
    run.map("hold", hold, range(count))
'''


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@attrs.frozen
class Shell:
    """A directory in which commands are run."""

    directory: Path
    environment: dict[str, str] = attrs.field(factory=dict)
    seconds: int = SECONDS

    def __call__(self, *arguments: str, input: str = "", **environment: str) -> Ended:
        """Run ``flowkit`` with these arguments and return how it ended."""
        return self._run(arguments, input=input, stdout=subprocess.PIPE, env=self.variables(**environment))

    def printing(self, file: IO[str], *arguments: str) -> Ended:
        """Run ``flowkit`` with these arguments so that it prints to a file."""
        return self._run(arguments, stdout=file, env=self.variables())

    def _run(self, arguments: Sequence[str], **options: Any) -> Ended:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            stderr=subprocess.PIPE,
            text=True,
            timeout=self.seconds,
            check=False,
            **options,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def background(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Run ``flowkit`` in the background of the block; it is killed at its end, if it still runs."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env=self.variables(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def in_terminal(self, *arguments: str, **environment: str) -> Ended:
        """Run ``flowkit`` in a terminal of its own and return how it ended; stdout and stderr are one there."""
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as screen:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.directory,
                env=self.variables(**{"TERM": "xterm", **environment}),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            )
            os.close(theirs)
            seen = b"".join(iter(lambda: _read(screen), b""))
            return Ended(process.wait(SECONDS), seen.decode(), "")

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a process."""
        return [sys.executable, "-m", "flowkit", *arguments]

    def variables(self, **environment: str) -> dict[str, str]:
        """Return the environment of a process: 80 columns, and no setting but those that are given."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("FLOWKIT_", "NO_COLOR"))}
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        # Compiled files are known by second and size: of a module rewritten at once the old one would be taken.
        fixed = {"PYTHONPATH": paths, "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**inherited, **fixed, **self.environment, **environment}

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def _read(screen: Any) -> bytes:
    try:
        found: bytes = screen.read(65536)
        return found
    except OSError:  # so a terminal ends on Linux, once nobody writes to it any more
        return b""


def eventually(happened: Callable[[], bool]) -> None:
    """Wait until something has happened, however slow the machine is."""
    until = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    """A shell in an empty directory."""
    return Shell(tmp_path)


@pytest.fixture
def shell(empty: Shell) -> Shell:
    """A shell in a project that has a store's setting and a module ``demo``."""
    empty.write("demo.py", DEMO)
    empty.write("pyproject.toml", f'[tool.flowkit]\nstore = "{STORE}"\nmodules = ["demo"]\n')
    return empty


@pytest.fixture
def slow(empty: Shell) -> Shell:
    """A shell in a project whose steps take as long as the test wants; its store is there."""
    empty.write("slow.py", SLOW)
    empty.write("pyproject.toml", f'[tool.flowkit]\nstore = "{STORE}"\nmodules = ["slow"]\n')
    Runtime(f"sqlite:///{empty.directory / 'var' / 'app.db'}", entry_points=False).close()
    return empty


@pytest.fixture
def looking(slow: Shell) -> Iterator[Runtime]:
    """The store of the slow project, opened in the test itself to look on."""
    with Runtime(f"sqlite:///{slow.directory / 'var' / 'app.db'}", entry_points=False) as runtime:
        yield runtime


@pytest.fixture
def store(shell: Shell, flowkit_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """The project's store, opened in the test itself by a clock that stands still: its times are always the same."""
    monkeypatch.syspath_prepend(shell.directory)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    url = f"sqlite:///{shell.directory / 'var' / 'app.db'}"
    with Runtime(url, modules=["demo"], entry_points=False, clock=flowkit_clock, worker_id="w") as runtime:
        yield runtime
    sys.modules.pop("demo", None)


Play = Callable[..., None]


@pytest.fixture
def play(store: Runtime, flowkit_clock: FakeClock) -> Play:
    """Start an order under a given id and work on it for some passes, a second apart."""

    def one(run_id: str, order: dict[str, Any], passes: int = 9, **options: Any) -> None:
        store.start_run("order", order, run_id=run_id, **options)
        for _ in range(passes):
            flowkit_clock.advance(1)
            store.run_once()
        flowkit_clock.advance(60)

    return one


GOLDEN = Path(__file__).parent / "golden"
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def printed(tmp_path: Path) -> Callable[[str, str], None]:
    """Compare what was printed with a file in ``golden``; GOLDEN=write in the environment writes it instead."""

    def compare(name: str, text: str) -> None:
        text = normal(text, tmp_path)
        file = GOLDEN / f"{name}.txt"
        if os.environ.get("GOLDEN") == "write":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8")

    return compare


def normal(text: str, directory: Path) -> str:
    """Return a printed text in which the directory's name and new ids are replaced, and tracebacks cut."""
    text = IDS.sub("UUID", text.replace(str(directory.resolve()), "DIR").replace(str(directory), "DIR"))
    text = re.sub(r'"traceback": "[^\n]+"', '"traceback": "..."', text)
    return re.sub(r"(  Traceback .*\n)(    .*\n)+", r"\1    ...\n", text)
