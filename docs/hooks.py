"""Puts into the site what stands outside docs/: the examples, the changelog and the pages for contributors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
OUTSIDE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
EXAMPLE = re.compile(r"\]\((?:\.\./)?examples/(\w+)\.py\)")
EXAMPLES = re.compile(r"\]\((?:\.\./)?examples/\)")
EXAMPLES_BEGIN = """# Examples

On this page you find whole programs, one feature each. They stand in `examples/`, and tests execute every one.
"""


def on_config(config):
    """Leave the pages that are not written yet out of the navigation."""
    config.nav = present(config.nav)
    return config


def present(nav):
    """Return *nav* without entries whose page is not there."""
    kept = []
    for entry in nav:
        if isinstance(entry, str):
            kept.append(entry)
            continue
        ((title, target),) = entry.items()
        if isinstance(target, list):
            kept.append({title: present(target)})
        elif (ROOT / "docs" / target).exists() or target in (*OUTSIDE.values(), "examples.md"):
            kept.append(entry)
    return kept


def on_files(files, config):
    """Add the pages that are made of other files of the project."""
    for source, page in OUTSIDE.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "examples.md", content=examples()))
    return files


def on_page_markdown(markdown, page, **_):
    """Let the links that lead out of docs/ on a host of Markdown lead to the site's own pages."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # it would list this page alone
    markdown = EXAMPLE.sub(r"](examples.md#\1)", markdown)
    markdown = EXAMPLES.sub("](examples.md)", markdown)
    for source, target in OUTSIDE.items():
        markdown = markdown.replace(f"](../{source})", f"]({target})")
    return re.sub(r"\]\(docs/([\w-]+\.md)", r"](\1", markdown)


def examples():
    """Return a page with every example: what it shows, then its code."""
    parts = [EXAMPLES_BEGIN]
    for path in sorted((ROOT / "examples").glob("[a-z]*.py")):
        code = path.read_text()
        said = ast.get_docstring(ast.parse(code)) or path.stem
        title = f"## {path.stem} {{ #{path.stem} }}"
        parts.append(f'{title}\n\n{said}\n\n```python title="examples/{path.name}"\n{code}```\n')
    return "\n".join(parts)
