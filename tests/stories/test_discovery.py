"""Discovery: which functions a Runtime finds in the modules it is told of, and what it says where it cannot."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from flowkit import ConfigError, DiscoveryError, DuplicateExecutor, DuplicatePackage, ExecutorSignatureError, Runtime

EXECUTOR = """
from flowkit import executor
@executor({kind!r})
def run_it(step) -> None: ...
"""
PACKAGE = """
from flowkit import package
@package({name!r})
def describe(run) -> None: ...
"""

Write = Callable[[dict[str, str]], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules that can be imported for the length of the story."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write_all(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()

    yield write_all
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_is_discovered_by_name_or_as_itself(flowkit_runtime: Runtime, write: Write) -> None:
    write({"one.py": EXECUTOR.format(kind="one"), "two.py": PACKAGE.format(name="two")})
    flowkit_runtime.discover("one", importlib.import_module("two"))
    assert (list(flowkit_runtime.executors), list(flowkit_runtime.packages)) == (["one"], ["two"])
    assert flowkit_runtime.executors["one"].module == "one"


def test_a_package_is_discovered_with_all_its_submodules(flowkit_runtime: Runtime, write: Write) -> None:
    write(
        {
            "app/__init__.py": EXECUTOR.format(kind="top"),
            "app/deep/__init__.py": "",
            "app/deep/down.py": EXECUTOR.format(kind="down"),
            "app/side.py": EXECUTOR.format(kind="side"),
        }
    )
    flowkit_runtime.discover("app")
    assert sorted(flowkit_runtime.executors) == ["down", "side", "top"]


def test_what_a_package_does_as_a_program_is_not_done(flowkit_runtime: Runtime, write: Write) -> None:
    write(
        {
            "app/__init__.py": EXECUTOR.format(kind="top"),
            "app/__main__.py": "raise SystemExit('this is the program')",
            "app/sub/__init__.py": "",
            "app/sub/__main__.py": "raise SystemExit('this too')",
        }
    )
    flowkit_runtime.discover("app")
    assert list(flowkit_runtime.executors) == ["top"]


def test_functions_that_a_module_imported_are_its_own_too(flowkit_runtime: Runtime, write: Write) -> None:
    write({"lib.py": EXECUTOR.format(kind="lib"), "app.py": "from lib import run_it\nfrom lib import run_it as again"})
    flowkit_runtime.discover("app", "lib", "app")
    assert list(flowkit_runtime.executors) == ["lib"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import no_such_module", ModuleNotFoundError),
        ("def broken(:", SyntaxError),
        ("1 / 0", ZeroDivisionError),
        ("raise SystemExit(1)", SystemExit),
    ],
)
@pytest.mark.parametrize("where", ["app.py", "app/__init__.py", "app/sub.py", "app/sub/__init__.py"])
def test_a_module_that_cannot_be_imported_is_named_and_the_cause_kept(
    flowkit_runtime: Runtime, write: Write, text: str, cause: type[BaseException], where: str
) -> None:
    write({"app/__init__.py": "", where: text} if "/" in where else {where: text})
    name = where.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    with pytest.raises(DiscoveryError) as refused:
        flowkit_runtime.discover("app")
    assert refused.value.module == name
    assert isinstance(refused.value.__cause__, cause)


def test_the_line_in_which_an_import_failed_is_told(flowkit_runtime: Runtime, write: Write) -> None:
    write({"app/__init__.py": "", "app/deep.py": "import other\n", "other.py": "a = 1\nb = a / 0\n"})
    with pytest.raises(DiscoveryError, match=r"cannot discover 'app\.deep': ZeroDivisionError: .*other\.py:2\)"):
        flowkit_runtime.discover("app")


def test_a_module_that_is_not_there_is_named(flowkit_runtime: Runtime) -> None:
    with pytest.raises(DiscoveryError, match="no_such_app"):
        flowkit_runtime.discover("no_such_app")


@pytest.mark.parametrize("wrong", ["", " ", 5, None])
def test_what_is_no_module_is_refused(flowkit_runtime: Runtime, wrong: str) -> None:
    with pytest.raises(ConfigError, match="modules"):
        flowkit_runtime.discover(wrong)


def test_one_name_instead_of_a_list_of_names_says_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"write \['app'\]"):
        Runtime("sqlite://", modules="app")


def test_two_functions_of_one_kind_are_refused_and_both_places_named(flowkit_runtime: Runtime, write: Write) -> None:
    write({"one.py": EXECUTOR.format(kind="same"), "two.py": "\n\n" + EXECUTOR.format(kind="same")})
    with pytest.raises(DuplicateExecutor) as refused:
        flowkit_runtime.discover("one", "two")
    assert (refused.value.first[-8:], refused.value.second[-8:]) == ("one.py:3", "two.py:5")
    assert "one.py:3" in str(refused.value)
    assert "two.py:5" in str(refused.value)


def test_two_packages_of_one_name_are_refused_and_both_places_named(flowkit_runtime: Runtime, write: Write) -> None:
    write({"one.py": PACKAGE.format(name="same"), "two.py": PACKAGE.format(name="same")})
    with pytest.raises(DuplicatePackage) as refused:
        flowkit_runtime.discover("one", "two")
    assert "one.py:3" in str(refused.value)
    assert "two.py:3" in str(refused.value)


def test_a_module_that_is_reloaded_is_fine_and_its_new_code_counts(flowkit_runtime: Runtime, write: Write) -> None:
    write({"app.py": EXECUTOR.format(kind="one")})
    flowkit_runtime.discover("app")
    before = flowkit_runtime.executors["one"].function
    flowkit_runtime.discover(importlib.reload(sys.modules["app"]))
    assert flowkit_runtime.executors["one"].function is not before


def test_an_annotation_that_cannot_be_resolved_is_refused_with_its_place(
    flowkit_runtime: Runtime, write: Write
) -> None:
    text = "from __future__ import annotations\n" + EXECUTOR.format(kind="one").replace("(step)", "(step, page: Page)")
    write({"app.py": text})
    with pytest.raises(ExecutorSignatureError, match=r"app\.py:4.*Page"):
        flowkit_runtime.discover("app")


def test_an_annotation_whose_values_cannot_be_stored_is_refused_with_its_place(
    flowkit_runtime: Runtime, write: Write
) -> None:
    write({"app.py": "import socket" + EXECUTOR.format(kind="one").replace("(step)", "(step, page: socket.socket)")})
    with pytest.raises(ExecutorSignatureError, match=r"app\.py:3"):
        flowkit_runtime.discover("app")


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """Install a distribution that announces its module."""
    write(
        {
            "announced.py": EXECUTOR.format(kind="announced"),
            "announced-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: announced\nVersion: 1.0\n",
            "announced-1.0.dist-info/entry_points.txt": "[flowkit.modules]\nannounced = announced\n",
        }
    )


def test_installed_distributions_announce_their_modules(announced: None) -> None:
    with Runtime("sqlite://") as runtime:
        assert "announced" in runtime.executors
    with Runtime("sqlite://", entry_points=False) as runtime:
        assert "announced" not in runtime.executors


def test_a_function_that_is_not_marked_cannot_be_registered(flowkit_runtime: Runtime) -> None:
    for wrong in (len, lambda: None, 5):
        with pytest.raises(ConfigError, match="@executor"):
            flowkit_runtime.register_executor(wrong)  # type: ignore[arg-type]


def test_what_is_registered_is_recorded_for_other_processes(flowkit_runtime: Runtime, write: Write) -> None:
    write({"app.py": EXECUTOR.format(kind="one") + PACKAGE.format(name="two")})
    flowkit_runtime.discover("app")
    with flowkit_runtime._parts.engine.read() as tx:
        kind = flowkit_runtime._parts.engine.catalog.kind(tx, "one")
        package = flowkit_runtime._parts.engine.catalog.package(tx, "two")
    assert kind is not None
    assert package is not None
    assert (kind.module, package.module, kind.worker_id) == ("app", "app", flowkit_runtime.worker_id)


def test_an_object_that_pretends_to_be_marked_is_left_alone(flowkit_runtime: Runtime) -> None:
    class Pretender:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("not to be asked")

        def __call__(self) -> None: ...

    module = ModuleType("pretending")
    module.pretender = Pretender()  # type: ignore[attr-defined]
    flowkit_runtime.discover(module)
    assert not flowkit_runtime.executors
