"""Adds up, at the end of a test run, what the simulation really played."""

from __future__ import annotations

import pytest

from tests.simulation.play import Tally


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures; properties of reports reach here from every process of a run."""
    tally = Tally()
    for report in terminalreporter.getreports("passed"):
        for name, value in getattr(report, "user_properties", ()):
            if name == "simulation" and getattr(report, "when", "") == "call":
                tally.merge(value)
    if tally.seeds or tally.points:
        terminalreporter.section("simulation")
        terminalreporter.line(str(tally))
