"""The README and the manual do what they say: every Python snippet runs, and prints what its comments promise."""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMISE = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


@pytest.fixture
def page_module():
    """The snippets of a page are one module, so that modules=[__name__] finds what they declare."""
    module = ModuleType("flowkit_page")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def missing(promised: list[str], printed: list[str]) -> list[str]:
    """Return the promised lines that were not printed in this order."""
    left = iter(printed)
    return [line for line in promised if line not in left]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run_and_print_what_they_say(page, page_module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = Sybil([PythonCodeBlockParser()]).parse(page)
    document.namespace = vars(page_module)

    for snippet in document.examples():
        printed = StringIO()
        with redirect_stdout(printed):
            snippet.evaluate()
        promised = PROMISE.findall(str(snippet.parsed))
        assert missing(promised, printed.getvalue().splitlines()) == [], f"line {snippet.line}: {printed.getvalue()}"

    assert {path.name for path in tmp_path.iterdir()} <= {"var"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    for path, heading in LINK.findall(page.read_text()):
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name} links to {path}"
        if heading:
            assert heading in headings(target), f"{page.name} links to {path}#{heading}"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosts of Markdown make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_tutorial_declares_what_the_first_example_does():
    tutorial = (ROOT / "docs" / "getting-started.md").read_text()
    declared = (ROOT / "examples" / "hello.py").read_text().partition("\n\n\n")[2].partition("\n\n\ndef main")[0]
    blocks = declared.split("\n\n\n")
    assert len(blocks) == 4
    assert [block for block in blocks if block not in tutorial] == []
