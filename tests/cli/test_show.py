"""``show`` tells of a run and of a step; ``result``, ``records`` and ``artifact`` give what they handed over."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from flowkit import Permanent, RunBuilder, Runtime, StepHandle, executor, package
from tests.cli.conftest import ROOT, Play, Shell

Printed = Callable[[str, str], None]
ORDER = {"id": "A-17", "items": ["tea", "cups"]}


def test_a_run_is_shown_with_its_steps_as_a_tree(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", ORDER, metadata={"customer": 17})
    ended = shell("show", "order-1")
    assert (ended.code, ended.err) == (0, "")
    printed("show", ended.out)


def test_a_run_is_shown_at_width_40(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", ORDER)
    ended = shell("show", "order-1", COLUMNS="40")
    assert max(map(len, ended.out.splitlines())) <= 40
    printed("show-40", ended.out)


def test_a_locale_without_unicode_gets_a_tree_all_the_same(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    ended = shell("show", "order-1", PYTHONIOENCODING="ascii")
    assert "`- notify-1" in ended.out


def test_a_failed_run_tells_code_details_and_traceback(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-2", {"id": "broke", "items": ["tea"]})
    ended = shell("show", "order-2")
    assert ended.code == 0
    printed("show-failed", ended.out)
    assert f'  File "{shell.directory / "demo.py"}", line 17, in charge\n' in ended.out
    assert '      raise Permanent("no_money", "the card was refused", details={"card": "4711"})\n' in ended.out


def test_a_step_is_shown_with_each_attempt(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-3", {"id": "flaky"})
    printed("show-step", shell("show", "order-3", "charge").out)


def test_what_is_shown_is_told_as_json(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-2", {"id": "broke"})
    printed("show-json", shell("show", "order-2", "--json", "--status", "failed").out)
    printed("show-step-json", shell("show", "order-2", "charge", "--json").out)


def test_a_run_is_meant_by_the_beginning_of_its_id_or_as_the_last_one(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    play("other-2", ORDER)
    assert json.loads(shell("show", "ord", "--json").out)["run"]["id"] == "order-1"
    assert json.loads(shell("show", "@last", "--json").out)["run"]["id"] == "other-2"


def test_an_id_that_could_be_several_is_refused_naming_them(shell: Shell, play: Play) -> None:
    play("order-1", ORDER, passes=0)
    play("order-2", ORDER, passes=0)
    ended = shell("show", "order")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: several runs begin with 'order'\nwhere: sqlite:///var/app.db\n"
        "hint: write more of the id: order-1, order-2\n"
    )


def test_a_run_or_step_that_is_not_there_is_not_found_and_the_nearest_is_named(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    ended = shell("show", "oder-1")
    assert ended.code == 3
    assert "error: run 'oder-1' is not in the store\n" in ended.err
    assert "hint: did you mean 'order-1'? `flowkit runs`" in ended.err
    ended = shell("show", "order-1", "chrage")
    assert ended.code == 3
    assert "hint: did you mean 'charge'? `flowkit show order-1` lists its steps" in ended.err


def test_the_shell_completes_ids_of_runs(shell: Shell, play: Play) -> None:
    play("order-1", ORDER, passes=0)
    play("other", ORDER, passes=0)
    ended = shell(_FLOWKIT_COMPLETE="bash_complete", COMP_WORDS="flowkit show or", COMP_CWORD="2")
    assert ended.out == "plain,order-1\n"


@pytest.mark.parametrize("command", ["show", "explain", "result", "retry", "artifact list"])
def test_the_shell_completes_ids_of_steps(shell: Shell, play: Play, command: str) -> None:
    play("order-1", ORDER, passes=0)
    words = f"flowkit {command} order-1 p"
    ended = shell(_FLOWKIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert ended.out == "plain,pack[0]\nplain,pack[1]\n"


def test_on_a_terminal_a_table_has_bold_headings_and_coloured_statuses(shell: Shell, play: Play) -> None:
    play("order-2", {"id": "broke", "items": ["tea"]})
    ended = shell.in_terminal("show", "order-2")
    assert ended.code == 0
    assert "\x1b[1mSTEP   " in ended.out
    assert "\x1b[31mfailed\x1b[0m" in ended.out
    plain = shell.in_terminal("show", "order-2", NO_COLOR="1")
    assert "\x1b[3" not in plain.out
    assert "charge " in plain.out


def test_without_rich_a_terminal_gets_the_plain_table_and_a_run_is_told_in_lines(shell: Shell, play: Play) -> None:
    play("order-2", {"id": "broke", "items": ["tea"]})
    shell.write("hidden/sitecustomize.py", "import sys\nsys.modules['rich'] = None\n")
    without = {"PYTHONPATH": f"{shell.directory / 'hidden'}:{ROOT}"}
    shown = shell.in_terminal("show", "order-2", **without)
    assert (shown.code, "\x1b[1m" in shown.out, "\x1b[31mfailed" in shown.out) == (0, False, True)
    watched = shell.in_terminal("watch", "order-2", **without)
    assert (watched.code, "\x1b[1A" in watched.out) == (1, False)
    assert "failed     charge  no_money" in watched.out


def test_the_output_of_a_run_is_printed_as_json(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    output = {"receipt": "receipt for A-17", "parcels": ["packed tea", "packed cups"]}
    assert json.loads(shell("result", "order-1").out) == output
    assert json.loads(shell("result", "order-1", "charge").out) == "receipt for A-17"
    assert json.loads(shell("result", "order-1", "--json").out)["output"] == output
    assert json.loads(shell("result", "order-1", "ship", "--json").out)["emitted"] == ["notify-0", "notify-1"]


def test_a_failed_run_has_no_result_and_its_command_fails(shell: Shell, play: Play) -> None:
    play("order-2", {"id": "broke"})
    ended = shell("result", "order-2")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: run 'order-2' failed: charge: no_money: the card was refused\nwhere: sqlite")
    ended = shell("result", "order-2", "charge")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: step 'charge' failed: no_money: the card was refused\n")


def test_the_output_of_a_run_that_succeeded_without_it_is_told_as_the_steps(shell: Shell, store: Runtime) -> None:
    @executor("shy")
    def shy() -> int:
        raise Permanent("shy", "not today")

    @package("lenient")
    def lenient(run: RunBuilder) -> StepHandle[int]:
        return run.step("only", shy, allow_failure=True)

    for function in (shy, lenient):
        store.register_executor(function)
    store.run("lenient", run_id="run-1")
    for words in (("result", "run-1"), ("result", "run-1", "only")):
        ended = shell(*words)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("error: step 'only' failed: shy: not today\n")


def test_the_result_of_a_step_that_was_canceled_is_none_and_says_why(shell: Shell, play: Play) -> None:
    play("bad", {"id": "broke", "items": ["tea"]})
    ended = shell("result", "bad", "ship")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: step 'ship' was canceled (dependency:charge)")
    assert json.loads(shell("result", "bad", "ship", "--json").out)["status"] == "canceled"


def test_a_canceled_run_has_no_result(shell: Shell, play: Play, store: Runtime) -> None:
    play("order-1", ORDER, passes=0)
    store.cancel_run("order-1")
    ended = shell("result", "order-1")
    assert (ended.code, ended.out) == (1, "")
    assert "hint: `flowkit retry order-1` makes it run again\n" in ended.err


@pytest.mark.parametrize("arguments", [[], ["charge"], ["--wait", "--timeout", "0.1"], ["charge", "--timeout", "0.1s"]])
def test_a_result_that_is_not_there_yet_counts_as_a_wait_that_timed_out(
    shell: Shell, play: Play, arguments: list[str]
) -> None:
    play("order-1", ORDER, passes=0)
    ended = shell("result", "order-1", *arguments)
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.startswith("error: ")


def test_records_are_listed_of_all_runs_or_of_one(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", ORDER)
    play("order-2", {"id": "B", "items": ["a"]})
    printed("records", shell("records", "parcels").out)
    printed("records-json", shell("records", "parcels", "--run", "order-2", "--json").out)
    assert shell("records", "parcels", "--limit", "2").err == "there are more: --limit 20 shows some of them\n"
    assert shell("records", "nothing").err == "there are no records in collection 'nothing'\n"


def test_an_artifact_is_listed_and_got(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", ORDER)
    printed("artifact-list", shell("artifact", "list", "order-1").out)
    listed = json.loads(shell("artifact", "list", "order-1", "pack[0]", "--json").out)["artifacts"]
    assert [one["id"] for one in listed] == ["pack[0]:artifact:001"]
    assert shell("artifact", "get", "order-1", "pack[0]:artifact:001").out == "To whom it may concern: tea"
    assert shell("artifact", "get", "order-1", "pack[1]:artifact:001", "-o", "label.txt").code == 0
    assert (shell.directory / "label.txt").read_text() == "To whom it may concern: cups"


def test_an_artifact_that_is_not_there_is_not_found(shell: Shell, play: Play) -> None:
    play("order-1", ORDER)
    ended = shell("artifact", "get", "order-1", "nothing")
    assert (ended.code, ended.out) == (3, "")
    assert "hint: `flowkit artifact list order-1`" in ended.err


@pytest.mark.parametrize("command", ["artifact get", "artifact list", "queues pause", "queues resume"])
def test_the_help_of_a_command_below_another_reads_well(empty: Shell, printed: Printed, command: str) -> None:
    ended = empty(*command.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    printed(f"help-{command.replace(' ', '-')}", ended.out)


def test_an_artifact_is_found_by_its_name_if_that_is_its_alone(shell: Shell, play: Play) -> None:
    play("one", {"id": "A-17", "items": ["tea"]})
    assert shell("artifact", "get", "one", "label.txt").out == "To whom it may concern: tea"
    play("two", {"id": "A-18", "items": ["tea", "cups"]})
    ended = shell("artifact", "get", "two", "label.txt")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: several artifacts are named 'label.txt'")
    assert "hint: say which: pack[0]:artifact:001, pack[1]:artifact:001" in ended.err


def test_the_result_of_a_step_is_waited_for_alone(shell: Shell, play: Play) -> None:
    play("order-1", {"id": "A-17", "items": ["tea"]}, passes=1)
    ended = shell("result", "order-1", "charge", "--wait", "--timeout", "60")
    assert (ended.code, ended.out) == (0, '"receipt for A-17"\n')
    play("bad", {"id": "broke"}, passes=1)
    ended = shell("result", "bad", "charge", "--wait", "--timeout", "60")
    assert ended.err.startswith("error: step 'charge' failed: no_money")


def test_hints_are_command_lines_that_a_shell_takes_as_they_are(shell: Shell, play: Play) -> None:
    play("a run", {"id": "broke", "items": ["tea"]})
    assert "`flowkit show 'a run' charge` has the traceback" in shell("result", "a run", "charge").err
    assert "`flowkit explain 'a run' 'pack[0]'` says why" in shell("result", "a run", "pack[0]").err
