"""Workers and clients on one store, killed while they work: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaign.driver import Campaign
from tests.places import Place

KILLS = {"sqlite": 300, "postgresql": 100}
ASKED = int(os.environ.get("FLOWKIT_KILLS", "0"))
"""How many kills are made on each database instead."""
SEED = int(os.environ.get("FLOWKIT_SEED", "20261"))


@pytest.mark.timeout(600 + 3 * ASKED)
def test_no_run_is_lost_and_none_done_twice_however_many_processes_are_killed(
    place: Place, database: str, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """A kill is a SIGKILL of a process that works, or is just opening the store; some are paused or told to end."""
    figures = Campaign(place.url, tmp_path, ASKED or KILLS[database], SEED).run()
    figure(f"kill campaign on {database}", figures)
