"""Tests of tests: each story writes a test file with workflows in it and runs pytest on it, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

PLUGIN = "flowkit.testing.plugin"
INSTALLED = any(one.value == PLUGIN for one in entry_points(group="pytest11"))

FLOWS = '''
from flowkit import Permanent, Retry, Retryable, RunBuilder, StepContext, StepHandle, executor, package


@executor("shop/charge", retry=Retry(max_attempts=3, initial=3600, maximum=3600, backoff="fixed"))
def charge(step: StepContext, customer: str) -> str:
    if customer == "broke":
        raise Permanent("no_money", "the card was refused")
    if customer == "slow" and step.attempt < 3:
        raise Retryable("busy", "the bank is busy")
    return f"receipt of {customer}"


@executor("shop/ship", queue="trucks")
def ship(step: StepContext, *, receipt: str) -> str:
    step.emit("notify", "shop/notify", None)
    return f"shipped for {receipt}"


@executor("shop/notify")
def notify(step: StepContext) -> None:
    return None


@package("order")
def order(run: RunBuilder, customer: str) -> StepHandle[str]:
    return run.step("ship", ship, receipt=run.step("charge", charge, customer))
'''

Pytest = Callable[..., pytest.RunResult]


@pytest.fixture
def run_pytest(pytester: pytest.Pytester) -> Pytest:
    """Write ``flows.py``, a test file and an ini file, and run pytest as a user would."""

    def run(tests: str, *arguments: str, ini: str = "flowkit_modules = flows") -> pytest.RunResult:
        quiet = "filterwarnings = error\nasyncio_default_fixture_loop_scope = function\nasyncio_mode = auto\n"
        pytester.makeini(f"[pytest]\npythonpath = .\naddopts = --strict-markers\n{quiet}{ini}\n")
        pytester.makepyfile(flows=FLOWS, test_flows=tests)
        own = () if INSTALLED else ("-p", PLUGIN)
        return pytester.runpytest_subprocess(*own, *arguments)

    return run
