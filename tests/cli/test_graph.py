"""``flowkit graph`` draws the steps of a run, or of a package before it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Play, Shell

Printed = Callable[[str, str], None]
ORDER = {"id": "A-17", "items": ["tea", "cups"]}
MANY = {"id": "A-17", "items": [f"item {number}" for number in range(12)]}


def test_the_graph_of_a_run_is_drawn_as_text(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", ORDER)
    ended = shell("graph", "@last")
    assert (ended.code, ended.err) == (0, "")
    printed("graph", ended.out)


def test_many_steps_that_are_alike_are_one_box_unless_each_is_wanted(
    shell: Shell, play: Play, printed: Printed
) -> None:
    play("order-1", MANY, passes=2)
    printed("graph-many", shell("graph", "order-1").out)
    assert shell("graph", "order-1", "--expand").out.count("pack[") == 12


def test_a_graph_is_drawn_at_width_40_and_without_unicode(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", {"id": "broke", "items": ["tea", "cups"]})
    ended = shell("graph", "order-1", COLUMNS="40", PYTHONIOENCODING="ascii")
    assert max(map(len, ended.out.splitlines())) <= 40
    printed("graph-40", ended.out)


def test_a_graph_is_drawn_as_mermaid_and_told_as_json(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", MANY, passes=2)
    printed("graph-mermaid", shell("graph", "order-1", "--format", "mermaid").out)
    printed("graph-json", shell("graph", "order-1", "--json").out)


def test_a_graph_is_drawn_as_svg(shell: Shell, play: Play, printed: Printed) -> None:
    play("order-1", ORDER)
    ended = shell("graph", "order-1", "--format", "svg")
    root = ElementTree.fromstring(ended.out)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"charge", "pack[0]", "ship", "notify-1", "emitted by ship"} <= set(texts)
    printed("graph-svg", ended.out)


def test_a_package_is_drawn_before_it_runs_and_nothing_is_stored(shell: Shell, printed: Printed) -> None:
    ended = shell("graph", "order", "--input", json.dumps(MANY))
    assert (ended.code, ended.err) == (0, "what its steps emit is decided while a run goes on, and not shown\n")
    printed("graph-package", ended.out)
    assert not (shell.directory / "var").exists()


def test_what_will_be_emitted_later_is_marked_where_it_is_known_at_all(empty: Shell) -> None:
    empty.write(
        "late.py",
        "from flowkit import RunBuilder, executor, package\n"
        "@executor('look')\ndef look() -> None: ...\n"
        "@package('late')\ndef late(run: RunBuilder) -> None:\n"
        "    run.step('first', look)\n    run.output = 'report'\n",
    )
    ended = empty("graph", "late", "-m", "late")
    assert ended.out == "○ first  look\n○ report  emitted at run time\n"


def test_an_input_that_does_not_fit_is_told(shell: Shell) -> None:
    ended = shell("graph", "order", "--input", '{"id": 5}')
    assert (ended.code, ended.out) == (2, "")
    assert "input $.id: expected str, got int" in ended.err


@pytest.mark.usefixtures("store")
def test_what_is_neither_run_nor_package_is_not_found(shell: Shell) -> None:
    ended = shell("graph", "oder")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: neither a run nor a package is called 'oder'\n")
    assert "the packages are order" in ended.err


def test_the_shell_completes_packages_and_runs(shell: Shell, play: Play) -> None:
    play("order-1", ORDER, passes=0)
    ended = shell(_FLOWKIT_COMPLETE="bash_complete", COMP_WORDS="flowkit graph or", COMP_CWORD="2")
    assert ended.out == "plain,order\nplain,order-1\n"
