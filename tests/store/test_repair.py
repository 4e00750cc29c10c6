"""Repairing a store: cascades and ends of runs that were forgotten are made up for, and told in the history."""

from __future__ import annotations

import json

import pytest

from flowkit.store.check import check, repair
from tests.places import Place, Run
from tests.store.flow import Flow, failure, plan, step
from tests.store.story import status_of, steps_of


def broken(flow: Flow) -> set[str]:
    with flow.engine.read() as tx:
        return {finding.invariant for finding in check(tx)}


def repaired(flow: Flow) -> dict[str, int]:
    with flow.engine.write() as tx:
        return {str(mended.what): mended.count for mended in repair(tx)}


def forget(run_sql: Run, run_id: str, *names: str) -> None:
    """Take entries out of a run's history, as if what they tell of had never been done."""
    ((run,),) = run_sql("SELECT key FROM runs WHERE id = ?", (run_id,)).fetchall()
    rows = run_sql("SELECT body FROM history WHERE run = ? ORDER BY first_seq", (run,)).fetchall()
    kept = [entry for (body,) in rows for entry in json.loads(body) if entry[0] not in names]
    run_sql("DELETE FROM history WHERE run = ?", (run,))
    values = (run, len(kept), json.dumps(kept))
    run_sql("INSERT INTO history (run, first_seq, count, at, body) VALUES (?, 0, ?, 1, ?)", values)
    run_sql("UPDATE runs SET events = ? WHERE key = ?", (len(kept), run))


def test_a_forgotten_cascade_is_made_up_for_and_the_run_ends(flow: Flow, place: Place) -> None:
    """Through a gate too, and on to what requires the canceled ones."""
    steps = [step(id) for id in "abcde"]
    run = flow.start(plan(*steps, after={"c": ["a", "b"], "d": ["a", "b"], "e": ["c"]}))
    flow.do(failure())
    flow.do()
    told = steps_of(flow, run)
    assert [told[id] for id in "cde"] == [*["canceled (dependency:a)"] * 2, "canceled (dependency:c)"]
    with place.by_hand() as run_sql:
        never = "status = 'pending', reason = NULL, ended_at = NULL, deps_left = 1"
        run_sql(f"UPDATE steps SET {never} WHERE id IN ('c', 'd', 'e')")
        run_sql("UPDATE runs SET status = 'running', ended_at = NULL, open_steps = 3")
        forget(run_sql, run, "step_canceled", "run_finished")
    assert "I8" in broken(flow)

    mended = repaired(flow)

    assert mended == {"steps canceled": 3, "runs given their status": 1}
    assert broken(flow) == {"I25"}
    assert (steps_of(flow, run), status_of(flow, run)) == (told, "failed")


@pytest.mark.parametrize("history", ["has it", "has it not"])
def test_a_run_that_does_not_say_how_it_ended_is_given_its_status(flow: Flow, place: Place, history: str) -> None:
    run = flow.start(plan(step("a")))
    flow.do()
    with place.by_hand() as run_sql:
        run_sql("UPDATE runs SET status = 'running', ended_at = NULL")
        if history == "has it not":
            forget(run_sql, run, "run_finished")
    assert "I12" in broken(flow)

    assert repaired(flow) == {"runs given their status": 1}

    assert (broken(flow), status_of(flow, run)) == ({"I25"}, "succeeded")


def test_a_run_that_says_it_ended_with_a_step_to_do_goes_on(flow: Flow, place: Place) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    flow.do()
    with place.by_hand() as run_sql:
        run_sql("UPDATE runs SET status = 'failed', ended_at = created_at")

    assert repaired(flow) == {"runs given their status": 1}

    assert (broken(flow), status_of(flow, run)) == ({"I25"}, "running")
    assert flow.finish() == ["b"]


def test_what_history_contradicts_is_left_to_be_looked_at(flow: Flow, place: Place) -> None:
    """Its steps say that the run goes on, its history that it ended: which of the two is wrong nobody can tell."""
    run = flow.start(plan(step("a")))
    flow.do()
    with place.by_hand() as run_sql:
        run_sql("DELETE FROM results")
        run_sql("UPDATE steps SET status = 'ready', ended_at = NULL, attempt = 0, started_at = NULL")

    assert "runs given their status" not in repaired(flow)

    assert {"I12", "I26"} <= broken(flow)
    assert status_of(flow, run) == "succeeded"
