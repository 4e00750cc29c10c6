"""The README and the manual do what they say: snippets run, commands print what is shown, settings can be parsed.

A page is one story in one empty directory. In its order, a block with ``title="file"`` is written to that file, a
``python`` block is executed and must print what its comments promise, a ``console`` block is typed into a shell and
must print what is shown (``...`` stands for anything), and what is written in another language is at least parsed.
"""

from __future__ import annotations

import configparser
import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```$', re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
COMMAND = re.compile(r"^\$ (.+(?:\n> .+)*)\n?", re.MULTILINE)
TYPED_BY_OTHER_TESTS = ("make ", "pip ", ".venv/bin/python -m benchmarks")
"""What the reader's machine is set up with, and what takes minutes."""
ALIKE = doctest.ELLIPSIS | doctest.REPORT_NDIFF


@pytest.fixture
def page_module():
    """The snippets of a page are one module, so that modules=[__name__] finds what they declare."""
    module = ModuleType("flowkit_page")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


@pytest.fixture
def stack():
    """What a page needs for as long as it is read."""
    with ExitStack() as entered:
        yield entered


@pytest.mark.timeout(600)  # a page may start a dozen processes, on a machine that has other things to do
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(page, page_module, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if "DATABASE_URL" in page.read_text():
        postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("stack").enter_context(postgres.empty()).url)
    document = Sybil([PythonCodeBlockParser(), parse_other_blocks]).parse(page)
    document.namespace = vars(page_module)
    expected = {"var"} | {Path(title).parts[0] for _, title, _ in FENCE.findall(page.read_text()) if title}

    for example in document.examples():
        printed = StringIO()
        with redirect_stdout(printed):
            example.evaluate()
        promised = PROMISE.findall(str(example.parsed)) if isinstance(example.parsed, str) else []
        assert missing(promised, printed.getvalue().splitlines()) == [], f"line {example.line}: {printed.getvalue()}"

    assert {path.name for path in tmp_path.iterdir()} <= expected | {"__pycache__"}


def missing(promised: list[str], printed: list[str]) -> list[str]:
    """Return the promised lines that were not printed in this order."""
    left = iter(printed)
    return [line for line in promised if line not in left]


def parse_other_blocks(document: Document) -> Iterator[Region]:
    for found in FENCE.finditer(document.text):
        if found["language"] != "python" or found["title"]:
            yield Region(found.start(), found.end(), (found["language"], found["title"], found["body"]), do_block)


def do_block(example: Example) -> str | None:
    language, title, body = example.parsed
    parse(language, body)
    if title:
        Path(title).parent.mkdir(parents=True, exist_ok=True)
        Path(title).write_text(body)
        return None
    return type_in(body) if language == "console" else None


def parse(language: str, body: str) -> None:
    """Raise what is wrong with a block in a language that somebody else's program reads."""
    if language == "python":
        compile(body, "<page>", "exec")
    elif language == "toml":
        tomllib.loads(body)
    elif language == "json":
        json.loads(body)
    elif language == "yaml":
        yaml.safe_load(body)
    elif language == "ini":
        configparser.ConfigParser(strict=False, interpolation=None).read_string(body)
    elif language == "sh":
        subprocess.run(["bash", "-n"], input=body, text=True, check=True)
    else:
        assert language in {"console", "text", "dockerfile"}, f"no test knows what to do with {language}"


def type_in(session: str) -> str | None:
    """Type the commands of a console block; return what differs from what the page shows."""
    commands = list(COMMAND.finditer(session))
    ends = [command.start() for command in commands[1:]] + [len(session)]
    for command, end in zip(commands, ends):
        line = command[1].replace("\n> ", "\n")
        if line.startswith(TYPED_BY_OTHER_TESTS):
            continue
        shown, printed = squeezed(session[command.end() : end]), squeezed(run(line))
        checker = doctest.OutputChecker()
        if not checker.check_output(shown, printed, ALIKE):
            return f"$ {line}\n" + checker.output_difference(doctest.Example("", shown), printed, ALIKE)
    return None


def squeezed(text: str) -> str:
    """Make each run of spaces one: a column of durations is as wide as the longest one, which no page can know."""
    return re.sub(" +", " ", re.sub(" +$", "", text, flags=re.MULTILINE))


def run(line: str) -> str:
    """Return what a command prints, in a terminal of 80 columns without colour."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLOWKIT_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", line], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
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
