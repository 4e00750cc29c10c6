"""The fixtures that flowkit gives to tests of one's own workflows, as they come with the plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowkit import Runtime
from flowkit.testing import FakeClock


def test_each_test_has_a_store_and_a_clock_of_its_own(
    flowkit_runtime: Runtime, flowkit_clock: FakeClock, tmp_path: Path
) -> None:
    assert len(flowkit_runtime.runs()) == 0
    assert flowkit_runtime._parts.clock is flowkit_clock
    assert (tmp_path / "flowkit.db").exists()


@pytest.mark.flowkit(modules=["tests.stories.telling"])
def test_the_marker_says_which_modules_the_fixture_registers(flowkit_runtime: Runtime) -> None:
    assert {"echo", "fail", "busy"} <= set(flowkit_runtime.executors)
