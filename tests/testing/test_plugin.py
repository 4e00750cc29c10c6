"""The pytest plugin in a project of its own: which modules it registers, what it reports, whom it gets along with."""

from __future__ import annotations

import pytest

from tests.testing.conftest import Pytest

ORDER = """
import pytest

def test_an_order(flowkit_runtime):
    assert flowkit_runtime.run("order", "Ada").result() == "shipped for receipt of Ada"
"""


def test_the_ini_option_names_the_modules(run_pytest: Pytest) -> None:
    run_pytest(ORDER).assert_outcomes(passed=1)


def test_the_marker_names_the_modules_too(run_pytest: Pytest) -> None:
    run_pytest(f"{ORDER}\npytestmark = pytest.mark.flowkit(modules=['flows'])", ini="").assert_outcomes(passed=1)


def test_the_marker_takes_other_settings_of_a_runtime(run_pytest: Pytest) -> None:
    tests = """
    import pytest
    from flowkit import QueueConfig

    @pytest.mark.flowkit(queues={"trucks": QueueConfig(max_workers=1)}, worker_id="the-worker")
    def test_settings(flowkit_runtime):
        assert flowkit_runtime.worker_id == "the-worker"
        assert [queue.max_workers for queue in flowkit_runtime.queues() if queue.name == "trucks"] == [1]
        assert flowkit_runtime.run("order", "Ada").status() == "succeeded"
    """
    run_pytest(tests).assert_outcomes(passed=1)


def test_a_marker_adds_to_those_around_it(run_pytest: Pytest) -> None:
    tests = """
    import pytest

    pytestmark = pytest.mark.flowkit(modules=["flows"], worker_id="of-the-module")

    @pytest.mark.flowkit(worker_id="of-the-test")
    def test_settings(flowkit_runtime):
        assert flowkit_runtime.worker_id == "of-the-test"
        assert flowkit_runtime.run("order", "Ada").status() == "succeeded"
    """
    run_pytest(tests, ini="").assert_outcomes(passed=1)


def test_a_crash_that_never_comes_fails(run_pytest: Pytest) -> None:
    tests = """
    def test_nothing_crashes(flowkit_runtime, flowkit_crash):
        flowkit_crash.at("during_heartbeat")
        flowkit_runtime.run("order", "Ada")
    """
    done = run_pytest(tests)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*the crash at 'during_heartbeat' never came*"])


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("'flows'", "takes keywords only"),
        ("clock=None", "cannot set clock"),
        ("modules=['nowhere']", "nowhere"),
        ("speed=3", "Runtime has no setting 'speed'"),
        ("module=['flows']", "did you mean 'modules'"),
    ],
)
def test_a_marker_that_cannot_be_obeyed_says_why(run_pytest: Pytest, marker: str, told: str) -> None:
    done = run_pytest(f"{ORDER}\npytestmark = pytest.mark.flowkit({marker})")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([f"*{told}*"])


def test_the_header_says_which_flowkit_this_is_and_what_it_registers(run_pytest: Pytest) -> None:
    run_pytest(ORDER).stdout.fnmatch_lines(["flowkit: *, modules: flows"])


def test_the_report_of_a_failed_test_shows_its_runs_and_why_steps_failed(run_pytest: Pytest) -> None:
    tests = """
    def test_a_broke_customer(flowkit_runtime):
        run = flowkit_runtime.run("order", "broke")
        assert run.status() == "succeeded"
    """
    done = run_pytest(tests)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*- flowkit runs -*",
            "run order-*: failed",
            "  charge  failed       1/3  no_money: the card was refused",
            "  ship    canceled     0/3  *'charge'*",
            "  charge, attempt 1: no_money: the card was refused",
            "    Traceback (most recent call last):",
            '*raise Permanent("no_money", "the card was refused")*',
        ]
    )


def test_it_shows_what_a_step_emitted_below_it_and_why_a_step_does_not_run(run_pytest: Pytest) -> None:
    tests = """
    def test_paused(flowkit_runtime):
        flowkit_runtime.run("order", "Ada")
        flowkit_runtime.pause_queue("trucks")
        flowkit_runtime.start_run("order", "Grace")
        flowkit_runtime.drain()
        assert False
    """
    run_pytest(tests).stdout.fnmatch_lines(
        [
            "run order-*: running",
            "  ship    ready *queue 'trucks' is paused*",
            "run order-*: succeeded",
            "  ship       succeeded    1/3",
            "  └─ notify  succeeded    1/3",
        ]
    )


def test_a_test_that_passes_or_has_no_runtime_shows_no_runs(run_pytest: Pytest) -> None:
    done = run_pytest(f"{ORDER}\ndef test_other():\n    assert False", "-rA")
    done.assert_outcomes(passed=1, failed=1)
    assert "flowkit runs" not in done.stdout.str()


def test_a_closed_runtime_does_not_hide_how_the_test_failed(run_pytest: Pytest) -> None:
    tests = """
    def test_closed(flowkit_runtime):
        flowkit_runtime.close()
        assert 1 + 1 == 3
    """
    done = run_pytest(tests)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*assert (1 + 1) == 3", "the runs cannot be read: RuntimeClosed*"])


def test_nothing_of_the_store_is_loaded_before_a_fixture_asks_for_it(run_pytest: Pytest) -> None:
    tests = """
    import sys

    def heavy():
        return [name for name in sys.modules if name == "peewee" or name.startswith("flowkit.store")]

    def test_without():
        assert heavy() == []

    def test_with(flowkit_runtime):
        assert heavy() != []
    """
    run_pytest(tests, "-p", "no:randomly", ini="").assert_outcomes(passed=2)


def test_artifacts_and_projections_have_a_place_in_each_test(run_pytest: Pytest) -> None:
    tests = """
    import pytest
    from flowkit import RunBuilder, StepContext, executor, package

    @executor("keep/all")
    def keep(step: StepContext) -> str:
        step.projection("kept").execute("CREATE TABLE kept (name TEXT)")
        return step.store_artifact("big.txt", b"big").id

    @package("keep")
    def keeping(run: RunBuilder) -> None:
        run.step("keep", keep)

    @pytest.mark.flowkit(modules=[__name__])
    def test_kept(flowkit_runtime):
        assert flowkit_runtime.run("keep").result().startswith("sha256-")
        assert flowkit_runtime.projection("kept").query("SELECT * FROM kept") == []
    """
    run_pytest(tests).assert_outcomes(passed=1)


def test_asynchronous_tests_use_the_same_fixtures(run_pytest: Pytest) -> None:
    tests = """
    async def test_run(flowkit_runtime):
        run = await flowkit_runtime.aio.run("order", "slow")
        assert await run.result() == "shipped for receipt of slow"

    async def test_workers(flowkit_runtime, flowkit_clock, flowkit_events):
        async with flowkit_runtime.aio.workers():
            run = await flowkit_runtime.aio.start_run("order", "Ada")
            assert await run.result() == "shipped for receipt of Ada"
        assert "run_finished" in [event.name for event in flowkit_events]
    """
    run_pytest(tests).assert_outcomes(passed=2)


def test_it_works_in_parallel_and_reports_from_there(run_pytest: Pytest) -> None:
    tests = """
    import pytest

    @pytest.mark.parametrize("number", range(8))
    def test_each_has_a_store_of_its_own(flowkit_runtime, number):
        assert flowkit_runtime.run("order", "Ada", run_id="order-1").created

    def test_broke(flowkit_runtime):
        assert flowkit_runtime.run("order", "broke").result()
    """
    done = run_pytest(tests, "-n", "2")
    done.assert_outcomes(passed=8, failed=1)
    done.stdout.fnmatch_lines(["*- flowkit runs -*", "  charge  failed *no_money*"])


def test_pytest_lists_the_marker_and_the_fixtures(run_pytest: Pytest) -> None:
    assert "@pytest.mark.flowkit(modules=" in run_pytest(ORDER, "--markers").stdout.str()
    listed = run_pytest(ORDER, "--fixtures").stdout.str()
    fixtures = ("runtime", "clock", "events", "crash", "stub")
    assert [name for name in fixtures if f"flowkit_{name}" not in listed] == []
