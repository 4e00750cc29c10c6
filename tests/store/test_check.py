"""Checking a store: every sort of damage is named by its invariant, and what can be counted again is mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowkit.artifacts import FileArtifactStore
from flowkit.model.limits import QueueConfig, RateLimit
from flowkit.model.plan import Plan
from flowkit.store import check_windows
from flowkit.store.check import INVARIANTS, PAST, TITLES, Finding, check, install_guard, remove_guard, repair
from tests.places import Place
from tests.store.flow import Flow, artifact, failure, plan, record, step, success
from tests.store.story import group, steps_of


@pytest.fixture
def busy(flow: Flow) -> Flow:
    """A store in which there is something of everything."""
    flow.start(group(["a", "b"], ["x", "y"]), run_id="open")
    effects = {"records": (record("pages", "1", {}),), "artifacts": (artifact("f", b"f"),)}
    flow.do(success(1, emission=plan(step("kid")), **effects))
    flow.lease_one()
    flow.start(plan(step("dead"), step("late"), after={"late": ["dead"]}), run_id="failed")
    flow.do(failure(), run="failed")
    flow.start(plan(step("waits"), step("after"), after={"after": ["waits"]}), run_id="new")
    assert found(flow) == []
    return flow


def found(flow: Flow, **options: object) -> list[Finding]:
    with flow.engine.read() as tx:
        return check(tx, **options)  # type: ignore[arg-type]


def bound(damage: str) -> tuple[bytes, ...]:
    """Return what stands for the place of a value: bytes that have another checksum."""
    return (b"2",) * damage.count("?")



DAMAGE = [
    ("I1", "UPDATE steps SET token = NULL WHERE status = 'running'"),
    ("I2", "UPDATE steps SET token = 'x' WHERE id = 'dead'"),
    ("I3", "DELETE FROM results"),
    ("I4", "INSERT INTO results SELECT key, 0, 1, 1, 'w', 1, 1, NULL, NULL, NULL FROM steps WHERE id = 'dead'"),
    ("I6", "UPDATE steps SET status = 'ready', deps_left = 0 WHERE id = 'after'"),
    ("I6", "UPDATE steps SET status = 'ready', deps_left = 0 WHERE id = 'x'"),
    ("I7", "UPDATE steps SET status = 'succeeded' WHERE id = 'waits'"),
    ("I8", "UPDATE steps SET status = 'pending', reason = NULL, ended_at = NULL WHERE id = 'late'"),
    ("I8", "UPDATE steps SET reason = 'dependency:nobody' WHERE id = 'late'"),
    ("I9", "UPDATE steps SET deps_left = 2 WHERE id = 'after'"),
    ("I9", "UPDATE gates SET left_open = 2"),
    ("I9", "UPDATE gates SET failed = 1"),
    ("I10", "DELETE FROM gates"),
    ("I10", "UPDATE deps SET target = target + 100 WHERE role = 1"),
    ("I10", "UPDATE runs SET nodes = 1"),
    ("I10", "UPDATE steps SET lane = lane + 100"),
    ("I11", "UPDATE steps SET parent = (SELECT key FROM steps WHERE id = 'dead') WHERE id = 'kid'"),
    ("I12", "UPDATE runs SET status = 'succeeded' WHERE id = 'failed'"),
    ("I12", "UPDATE runs SET status = 'canceling', cancel_requested_at = 1 WHERE id = 'open'"),
    ("I13", "UPDATE runs SET open_steps = open_steps + 1 WHERE id = 'new'"),
    ("I13", "UPDATE runs SET failed_steps = 7 WHERE id = 'failed'"),
    ("I13", "UPDATE runs SET edges = 7 WHERE id = 'new'"),
    ("I15", "UPDATE steps SET attempt = 2 WHERE status = 'running'"),
    ("I15", "UPDATE steps SET max_attempts = 0 WHERE id = 'dead'"),
    ("I16", "UPDATE steps SET epoch = 0 WHERE id = 'dead'"),
    ("I16", "DELETE FROM attempts"),
    ("I17", "INSERT INTO attempts SELECT key, 1, 0, 1, 'w', 1, 1, 'lost', NULL FROM steps WHERE status = 'running'"),
    ("I21", "UPDATE records SET epoch = 2"),
    ("I21", "UPDATE artifacts SET epoch = 2"),
    ("I22", "UPDATE results SET body = ?"),
    ("I22", "UPDATE specs SET input = ?"),
    ("I22", "UPDATE records SET body = ?"),
    ("I22", "UPDATE artifacts SET body = ?"),
    ("I22", "UPDATE run_inputs SET body = ?"),
    ("I23", "INSERT INTO deps SELECT w.key, t.key, 1 FROM steps w, steps t WHERE w.id = 'after' AND t.id = 'waits'"),
    ("I24", "UPDATE steps SET expires_at = started_at - 1 WHERE status = 'running'"),
    ("I25", "UPDATE meta SET number = 1 WHERE key = 'repairs'"),
    ("I26", "DELETE FROM history WHERE first_seq > 0"),
    ("I26", "UPDATE history SET first_seq = first_seq + 100"),
    ("I26", "UPDATE history SET body = replace(body, 'step_failed', 'step_succeeded')"),
    ("I26", "UPDATE history SET body = replace(body, 'step_leased', 'step_promoted')"),
    ("I26", "UPDATE steps SET status = 'ready', deps_left = 0 WHERE id = 'after'"),
]


@pytest.mark.parametrize(("invariant", "damage"), DAMAGE, ids=[f"{name}-{sql[:60]}" for name, sql in DAMAGE])
def test_damage_is_found_and_named(busy: Flow, place: Place, invariant: str, damage: str) -> None:
    with place.by_hand() as run_sql:
        assert run_sql(damage, bound(damage)).rowcount > 0

    findings = {finding.invariant: finding for finding in found(busy)}

    assert invariant in findings
    assert findings[invariant].count >= len(findings[invariant].rows) > 0
    assert invariant in str(findings[invariant])


def test_what_happens_in_a_run_that_is_being_canceled_is_found(flow: Flow, place: Place) -> None:
    run = flow.start(step("a"), step("b"))
    leased = flow.lease(1)[0]
    flow.cancel(run)
    flow.settle(leased, success())
    with place.by_hand() as run_sql:
        run_sql("UPDATE history SET body = replace(body, 'step_discarded', 'step_succeeded')")

    assert "I14" in {finding.invariant for finding in found(flow)}


def test_leases_beyond_a_limit_are_found(flow: Flow) -> None:
    flow.start(*[step(f"page[{n}]") for n in range(3)])
    flow.lease()

    assert found(flow, limits={"default": QueueConfig(3, RateLimit(1, burst=3))}) == []
    findings = found(flow, limits={"default": QueueConfig(2, RateLimit(1, burst=2))})
    assert [(finding.invariant, finding.rows[0][:2]) for finding in findings][0] == ("I18", ("default", 3))
    assert [finding.invariant for finding in findings] == ["I18", "I19"]


def test_artifacts_outside_the_database_are_read(flow: Flow, tmp_path: Path) -> None:
    store = FileArtifactStore(tmp_path / "artifacts")
    flow.start(step("a"), step("b"))
    store.put(b"kept")
    flow.do(success(artifacts=(artifact("", b"kept", external=True),)))
    assert found(flow, artifact_store=store) == []

    flow.do(success(artifacts=(artifact("", b"lost", external=True),)))

    assert found(flow) == []
    assert [(finding.invariant, finding.count) for finding in found(flow, artifact_store=store)] == [("I20", 1)]


def test_every_invariant_has_a_title(busy: Flow) -> None:
    names = {invariant.name for invariant in INVARIANTS} | set(TITLES)

    assert names == {f"I{number}" for number in range(1, 27)}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE gates SET left_open = 0, failed = 3", "gates counted again"),
        ("UPDATE steps SET deps_left = 5 WHERE status = 'pending'", "waiting steps counted again"),
        ("UPDATE runs SET open_steps = 0, failed_steps = 3, edges = 9, steps = 1", "runs counted again"),
    ],
)
def test_counts_that_drifted_are_counted_again(busy: Flow, place: Place, damage: str, told: str) -> None:
    with place.by_hand() as run_sql:
        run_sql(damage, bound(damage))

    with busy.engine.write() as tx:
        mended = repair(tx)

    assert [one.what for one in mended] == [told]
    (remembered,) = found(busy)
    assert remembered.invariant in PAST
    assert remembered.rows == (("repairs", sum(one.count for one in mended)),)


def test_a_forgotten_promotion_is_made_up_for(flow: Flow, place: Place) -> None:
    run = flow.start(plan(step("a"), step("b"), after={"b": ["a"]}))
    flow.do()
    with place.by_hand() as run_sql:
        run_sql("UPDATE steps SET status = 'pending', deps_left = 1, ready_at = NULL WHERE id = 'b'")
        ((body,),) = run_sql("SELECT body FROM history WHERE count = 2").fetchall()
        forgotten = json.dumps(json.loads(body)[:1])
        run_sql("UPDATE history SET count = 1, body = ? WHERE count = 2", (forgotten,))
        run_sql("UPDATE runs SET events = events - 1")
    assert [finding.invariant for finding in found(flow)] == ["I7", "I9"]

    with flow.engine.write() as tx:
        assert [str(mended.what) for mended in repair(tx)] == ["steps promoted"]

    assert ([finding.invariant for finding in found(flow)], steps_of(flow, run)["b"]) == (["I25"], "ready")
    assert flow.finish() == ["b"]


def test_a_sound_store_is_left_alone(busy: Flow) -> None:
    with busy.engine.write() as tx:
        assert repair(tx) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE steps SET status = 'ready', ended_at = NULL", "no move leads"),
        ("UPDATE steps SET epoch = epoch - 1", "only grows"),
        ("UPDATE results SET worker = 'nobody'", "never changes"),
    ],
)
def test_the_guard_refuses_what_no_move_does(flow: Flow, place: Place, change: str, told: str) -> None:
    with flow.engine.write() as tx:
        install_guard(tx)
    flow.start(step("a"))
    flow.do()

    with pytest.raises(place.refusals, match=told), flow.engine.write() as tx:
        tx.script(change)


def test_the_guard_can_be_taken_away_again(flow: Flow) -> None:
    with flow.engine.write() as tx:
        install_guard(tx)
        install_guard(tx)
        remove_guard(tx)
    flow.start(step("a"))
    flow.do()
    with flow.engine.write() as tx:
        tx.script("UPDATE steps SET epoch = epoch - 1")
        tx.script("UPDATE results SET worker = 'nobody'")
        tx.script("UPDATE steps SET status = 'failed'")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the store into windows of one run each."""
    monkeypatch.setattr(check_windows, "RUNS", 1)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("invariant", "damage"), DAMAGE, ids=[f"{name}-{sql[:60]}" for name, sql in DAMAGE])
def test_a_long_store_is_checked_a_few_runs_at_a_time_with_the_same_findings(
    busy: Flow, place: Place, invariant: str, damage: str
) -> None:
    with place.by_hand() as run_sql:
        run_sql(damage, bound(damage))
    narrow = {(one.invariant, one.title): one.count for one in found(busy)}
    with pytest.MonkeyPatch.context() as wide:
        wide.setattr(check_windows, "RUNS", 1000)
        whole = {(one.invariant, one.title): one.count for one in found(busy)}

    assert narrow == whole
    assert invariant in {name for name, _ in narrow}


@pytest.mark.usefixtures("narrow")
def test_a_long_store_is_mended_a_few_runs_at_a_time(busy: Flow, place: Place) -> None:
    with place.by_hand() as run_sql:
        run_sql("UPDATE runs SET failed_steps = 3")
    with busy.engine.read() as tx:
        cut = list(check_windows.windows(tx))
    assert len(cut) == 4, "one for each run, and one for what may come after them"

    told = []
    for window in cut:
        with busy.engine.write() as tx:
            told += [mended.count for mended in repair(tx, window)]

    assert told == [1, 1, 1]
    assert {finding.invariant for finding in found(busy)} == PAST


def test_what_belongs_to_no_run_is_found_whatever_its_key(busy: Flow, place: Place) -> None:
    with place.by_hand() as run_sql:
        run_sql("INSERT INTO gates VALUES (-5, 'low', 0, 0), ((1 << 60), 'high', 0, 0)")

    (outside,) = [finding for finding in found(busy) if finding.title == "node outside its run"]

    assert outside.count == 2


def test_an_empty_store_is_sound(flow: Flow) -> None:
    assert found(flow) == []
    flow.start(Plan(()))
    assert found(flow) == []
