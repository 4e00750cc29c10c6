"""Which status may follow which, and no other."""

from __future__ import annotations

import pytest

from flowkit.model import moves
from flowkit.model.states import DEAD_STEP, ENDED_RUN, ENDED_STEP, OPEN_STEP, RunStatus, StepStatus

TABLE = {
    ("promote", "pending", "ready"),
    ("cascade", "pending", "canceled"),
    ("lease", "ready", "running"),
    ("succeed", "running", "succeeded"),
    ("retry", "running", "ready"),
    ("fail", "running", "failed"),
    ("reclaim", "running", "ready"),
    ("reclaim_spent", "running", "failed"),
    ("release", "running", "ready"),
    ("cancel", "pending", "canceled"),
    ("cancel", "ready", "canceled"),
    ("discard", "running", "canceled"),
    ("revive", "failed", "ready"),
    ("revive", "canceled", "ready"),
    ("revive_waiting", "failed", "pending"),
    ("revive_waiting", "canceled", "pending"),
    ("fence", "running", "ready"),
}


def test_the_table_of_moves_is_the_documented_one():
    made = {(str(move), source.value, move.target.value) for move in moves.MOVES for source in move.sources}
    assert made == TABLE


def test_only_these_pairs_are_legal():
    assert {(source.value, target.value) for source, target in moves.LEGAL} == {pair[1:] for pair in TABLE}


def test_a_success_is_never_left():
    assert not [pair for pair in moves.LEGAL if pair[0] is StepStatus.SUCCEEDED]


def test_only_a_lease_makes_a_step_run_and_only_a_running_step_succeeds():
    assert [move.name for move in moves.MOVES if move.target is StepStatus.RUNNING] == ["lease"]
    assert [pair[0] for pair in moves.LEGAL if pair[1] is StepStatus.SUCCEEDED] == [StepStatus.RUNNING]


def test_what_is_done_at_once_could_be_done_by_moves_one_after_the_other():
    between = {(first[0], second[1]) for first in moves.LEGAL for second in moves.LEGAL if first[1] is second[0]}
    assert not moves.AT_ONCE - between
    assert not moves.AT_ONCE & moves.LEGAL
    assert {(source.value, target.value) for source, target in moves.AT_ONCE} == {("pending", "running")}


def test_every_status_is_either_open_or_ended():
    assert set(StepStatus) == OPEN_STEP | ENDED_STEP
    assert not OPEN_STEP & ENDED_STEP
    assert {StepStatus.SUCCEEDED} == ENDED_STEP - DEAD_STEP


@pytest.mark.parametrize("status", [*RunStatus, *StepStatus], ids=str)
def test_a_status_is_its_word_however_it_is_written(status):
    assert status == status.value
    assert f"{status}" == status.value
    assert f"{status:>12}" == status.value.rjust(12)


def test_a_status_knows_whether_it_is_the_end():
    assert {status for status in RunStatus if status.is_ended} == ENDED_RUN
    assert {status for status in StepStatus if status.is_ended} == ENDED_STEP
