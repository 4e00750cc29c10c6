"""Workers and clients on one store, killed while they work: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaign.driver import Campaign

KILLS = int(os.environ.get("FLOWKIT_KILLS", "300"))
SEED = int(os.environ.get("FLOWKIT_SEED", "20261"))


@pytest.mark.timeout(300 + 3 * KILLS)
def test_no_run_is_lost_and_none_done_twice_however_many_processes_are_killed(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """A kill is a SIGKILL of a process that works, or is just opening the store; some are paused or told to end."""
    figures = Campaign(f"sqlite:///{tmp_path / 'engine.db'}", tmp_path, KILLS, SEED).run()
    figure("kill campaign on SQLite", figures)
