"""The command ``init``."""

from __future__ import annotations

import keyword

import click

from flowkit.cli.failing import CommandFailed
from flowkit.cli.output import Output

APP = '''"""The workflows of this project: executors do the work, packages lay out a run's steps."""

from attrs import frozen

from flowkit import Permanent, RunBuilder, StepContext, StepHandle, executor, package


@frozen
class HelloInput:
    message: str = "hello workflow"


@executor("hello/echo")
def echo(step: StepContext, input: HelloInput) -> str:
    if not input.message:
        raise Permanent("empty_message", "message is required")
    return input.message


@executor("hello/shout")
def shout(step: StepContext, *, text: str) -> str:
    return text.upper()


@package("hello", display_name="Hello Workflow")
def hello(run: RunBuilder, input: HelloInput = HelloInput()) -> StepHandle[str]:
    text = run.step("echo", echo, input)
    return run.step("shout", shout, text=text)
'''

TEST = '''"""What the workflows of this project do."""

import pytest

from flowkit import RunFailed, Runtime


def test_hello_is_said_loudly(flowkit_runtime: Runtime) -> None:
    assert flowkit_runtime.run("hello", {"message": "good morning"}).result() == "GOOD MORNING"


def test_nothing_to_say_is_an_error(flowkit_runtime: Runtime) -> None:
    with pytest.raises(RunFailed, match="empty_message"):
        flowkit_runtime.run("hello", {"message": ""}).result()
'''

PROJECT = '''[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.10"
dependencies = ["flowkit-durable"]

[tool.setuptools]
py-modules = ["{name}"]

[tool.flowkit]
store = "sqlite:///var/{name}.db"
modules = ["{name}"]

[tool.pytest.ini_options]
pythonpath = ["."]
flowkit_modules = ["{name}"]
'''

NAME = "{name}"
FILES = {"{name}.py": APP, "test_{name}.py": TEST, "pyproject.toml": PROJECT, ".gitignore": "var/\n__pycache__/\n"}
"""The files of a new project by their names; in both of them, {name} is the project's."""


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Make a new project with a passing test.

    NAME is the new directory, and the module in it. It holds a package
    ``hello`` with two executors, their tests, and the store's setting.
    """
    from pathlib import Path

    if not name.isidentifier() or keyword.iskeyword(name) or name in ("flowkit", "test"):
        hint = "a module's name has letters, digits and _, such as my_flows"
        raise CommandFailed(f"{name!r} cannot be the name of a module", where="flowkit init", hint=hint)
    place = Path(name)
    if place.exists():
        raise CommandFailed(f"{name!r} is there already", where=str(Path.cwd()), hint="choose another name")
    place.mkdir()
    for file, text in FILES.items():
        (place / file.replace(NAME, name)).write_text(text.replace(NAME, name), encoding="utf-8")
    out = Output()
    out.line(f"made {name}; go on with")
    for line in (f"cd {name}", "pytest", "flowkit run hello --wait"):
        out.line(f"  {line}")
