"""The documentation site builds without a warning or the network, holds every page and name, and asks no other host."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest
import yaml

import flowkit

ROOT = Path(__file__).parents[1]
NOBODY = "http://127.0.0.1:9"
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site as `make docs` builds it, on a machine that reaches nobody."""
    built = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "http_proxy": NOBODY, "https_proxy": NOBODY}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert (done.returncode, told) == (0, [])
    return built


class Loads(HTMLParser):
    """Collects what a browser fetches by itself when it opens a page; a link to click on is no such thing."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADED.get(tag, ""))
        if address is not None and given.get("rel") != "canonical":
            self.addresses.append(address)


def loaded_by(page: Path) -> list[str]:
    loads = Loads()
    loads.feed(page.read_text())
    return loads.addresses


def test_no_page_asks_another_host(site):
    foreign = re.compile(r"^(\w+:)?//")
    pages = list(site.rglob("*.html"))
    assert any(loaded_by(page) for page in pages)
    assert {address for page in pages for address in loaded_by(page) if foreign.match(address)} == set()
    fetched_by_style = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
    assert [style.name for style in site.rglob("*.css") if fetched_by_style.search(style.read_text())] == []


def test_no_page_makes_the_theme_ask_another_host(site):
    """The theme's script fetches a library where it finds a mermaid block, and figures of a repository."""
    for page in site.rglob("*.html"):
        assert 'class="mermaid"' not in page.read_text()
        assert 'data-md-component="source"' not in page.read_text()


def test_what_a_page_loads_is_there(site):
    for page in site.rglob("*.html"):
        if page.name != "404.html":  # served at any depth, so its addresses begin at the root of a host
            paths = [address.partition("?")[0] for address in loaded_by(page)]
            assert [path for path in paths if not (page.parent / path).exists()] == []


def test_every_page_can_be_found_by_search(site):
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    pages = {str(page.relative_to(site)) for page in site.rglob("*.html")} - {"404.html", "index.html"}
    assert pages <= found


def test_every_page_of_the_manual_is_in_the_navigation():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    written = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert written - pages_in(settings["nav"]) == set()


def pages_in(nav: object) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    entries = nav.values() if isinstance(nav, dict) else nav
    return set().union(*(pages_in(entry) for entry in entries))


@pytest.mark.parametrize("name", flowkit.__all__)
def test_every_public_name_is_in_the_reference(site, name):
    assert any(f'id="flowkit.{name}"' in page.read_text() for page in (site / "api").glob("*.html"))


@pytest.mark.parametrize("name", flowkit.__all__)
def test_every_public_name_says_what_its_parts_are(name):
    named = getattr(flowkit, name)
    assert inspect.getdoc(named)
    for part, member in vars(named).items() if inspect.isclass(named) else ():
        if not part.startswith("_") and (inspect.isfunction(member) or isinstance(member, (property, classmethod))):
            assert inspect.getdoc(member), f"{name}.{part}"
    if inspect.isclass(named) and attrs.has(named):
        fields = [field.name for field in attrs.fields(named) if not field.inherited and field.name[0] != "_"]
        assert [one for one in fields if not re.search(rf"\b{one}(: |``)", named.__doc__)] == []
