"""Ctrl-C and signal handlers come at any moment: what they interrupt leaves the store to everybody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowkit.store.engine import Engine
from tests.places import Place
from tests.store.flow import Flow, plan, step

HANDLER = """
import signal, sys, time
from flowkit import Runtime

def handle(*_):
    rt.runs(limit=1)
    if goes_on:
        signal.setitimer(signal.ITIMER_REAL, 0.0009)

goes_on = True
with Runtime(sys.argv[1]) as rt:
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0007)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        rt.runs(limit=1)
    goes_on = False  # else a signal that comes just now sets the timer again
    signal.setitimer(signal.ITIMER_REAL, 0)
print("done")
"""


def others_can_write(flow: Flow) -> bool:
    """Whether another thread stores a run, and soon."""
    stored = threading.Event()

    def store() -> None:
        flow.start(plan(step("a")))
        stored.set()

    threading.Thread(target=store, daemon=True).start()
    return stored.wait(20)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_who_is_interrupted_as_a_transaction_is_rolled_back_lets_others_write(
    engine: Engine, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(engine.db.connections.connector, "rollback", interrupted)
        with engine.write():
            raise ValueError("the block fails, and then somebody presses Ctrl-C")

    assert others_can_write(flow)


@pytest.mark.parametrize("moment", ["begin", "commit"])
def test_who_is_interrupted_at_the_end_or_the_beginning_of_a_transaction_lets_others_write(
    engine: Engine, flow: Flow, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(engine.db.connections.connector, moment, interrupted)
        with engine.write():
            pass

    assert others_can_write(flow)


def test_who_is_interrupted_before_a_transaction_can_end_lets_others_write(
    engine: Engine, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may come where nothing can catch it: then nobody has the transaction any more, and that ends it."""
    transaction = engine.write()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(transaction), "__exit__", interrupted)
        with transaction:
            pass
    del transaction

    assert others_can_write(flow)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a system without interval timers")
def test_a_handler_of_a_signal_may_use_the_runtime_whatever_it_interrupts(place: Place, tmp_path: Path) -> None:
    script = tmp_path / "handler.py"
    script.write_text(HANDLER)
    told = subprocess.run(
        [sys.executable, script, place.url],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert told.stdout == "done\n", told.stderr
