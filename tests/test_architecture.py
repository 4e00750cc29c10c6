"""The house rules: imports go down only, things stay small, and each kind of thing is done in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "flowkit").rglob("*.py"))
TOP = "flowkit/__init__.py"  # the public list, above all floors; imports each name when it is asked for

FLOORS = [
    "errors clock",
    "model drawing",
    "dsl",
    "store artifacts bodies folders projections projection_files",
    "scheduler",
    "runtime",
    "otel prometheus torture",
    "cli web testing",
]
HEIGHT = {part: height for height, floor in enumerate(FLOORS) for part in floor.split()}
FACES = set(FLOORS[-1].split())

MODULE_LINES, FUNCTION_LINES, PARAMETERS = 300, 45, 6

OVERLOADS = "flowkit/dsl/typing.py"  # spells every option out for each shape of call, so that checkers see them
TABLES = ("flowkit/store/tables.py", "flowkit/store/tables_output.py")  # long since tables have many columns
FACADES = (  # take every option of a call by its own name, since that is how users write it
    "flowkit/dsl/",
    "flowkit/runtime/runtime.py",
    "flowkit/runtime/reads.py",
    "flowkit/runtime/aio.py",
    "flowkit/runtime/context.py",
    "flowkit/cli/commands/",
)
# pytest loads the plugin wherever flowkit is installed, so what its fixtures need is imported when they are used.
LATE_IMPORTERS = ("flowkit/cli/", "flowkit/testing/plugin.py")
EXTRAS = {"orjson", "psycopg", "loky", "opentelemetry"}  # may be imported inside the function that first uses them
SQL_PLACES = ("flowkit/store/", "flowkit/projections.py", "flowkit/projection_files.py")

WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
LOGS_AND_CLOCKS = {"structlog", "logging", "time"}
UNSAFE_MODULES = {"pickle", "cloudpickle", "marshal", "shelve", "dill"}
UNSAFE_CALLS = {"eval", "exec"}
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+(UNIQUE\s+)?(TABLE|INDEX)\s"
    r"|PRAGMA\s|BEGIN(\s+IMMEDIATE)?$|COMMIT$|ROLLBACK$|WITH\s+\w+\s+AS\s)"
)


def offenders(rule: Callable[[str, ast.Module], object], *, but: tuple[str, ...] = ()) -> dict[str, object]:
    """What *rule* finds in each source file that does not start with one of *but*; it finds nothing in a good one."""
    checked = [source for source in SOURCES if not but or not source.startswith(but)]
    return {source: found for source in checked if (found := rule(source, tree_of(source)))}


@cache
def tree_of(source: str) -> ast.Module:
    return ast.parse((ROOT / source).read_text(encoding="utf-8"), source)


def part_of(module: str) -> str:
    """The part of the house that ``flowkit.part...`` or ``flowkit/part...`` is in."""
    part = [*re.split(r"[./]", module.removesuffix(".py")), ""][1]
    return "cli" if part == "__main__" else part


def imports_in(node: ast.AST) -> Iterator[str]:
    """Every module imported below *node*; a name imported from ``flowkit`` itself counts as one."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            module = found.module or ""
            yield from (f"flowkit.{alias.name}" for alias in found.names) if module == "flowkit" else (module,)


def flowkit_imports(node: ast.AST) -> list[str]:
    return [name for name in imports_in(node) if name.split(".")[0] == "flowkit"]


def names_imported(tree: ast.Module) -> set[str]:
    """Each ``module.name`` of the ``from module import name`` in a file."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}.{alias.name}" for node in found for alias in node.names}


def functions_in(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def dotted(node: ast.AST) -> str:
    """The last two parts of ``a.b.c``, or the name alone."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value).split('.')[-1]}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_every_part_of_the_house_has_a_floor() -> None:
    assert {part_of(source) for source in SOURCES if source != TOP} - set(HEIGHT) == set()


def test_every_exception_to_a_rule_names_something_that_is_there() -> None:
    named = [OVERLOADS, *TABLES, *FACADES, *SQL_PLACES]

    assert [name for name in named if not (ROOT / name).exists()] == []


def test_nothing_imports_upwards() -> None:
    def above(source: str, tree: ast.Module) -> list[str]:
        here = HEIGHT[part_of(source)]
        return [name for name in flowkit_imports(tree) if HEIGHT.get(part_of(name), len(FLOORS)) > here]

    assert offenders(above, but=(TOP,)) == {}


def test_faces_do_not_know_each_other() -> None:
    def beside(source: str, tree: ast.Module) -> set[str]:
        here = part_of(source)
        return {part_of(name) for name in flowkit_imports(tree)} & (FACES - {here}) if here in FACES else set()

    assert offenders(beside) == {}


def test_nothing_is_imported_inside_a_function_but_extras_and_in_commands() -> None:
    def inside(source: str, tree: ast.Module) -> list[str]:
        found = [(function.name, name) for function in functions_in(tree) for name in imports_in(function)]
        return [f"{function}: {name}" for function, name in found if name.split(".")[0] not in EXTRAS]

    assert offenders(inside, but=LATE_IMPORTERS) == {}


def test_nothing_of_flowkit_is_imported_for_type_checking_only() -> None:
    def guarded(source: str, tree: ast.Module) -> list[str]:
        tests = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
        guards = [node for node in tests if dotted(node.test).split(".")[-1] == "TYPE_CHECKING"]
        return [name for guard in guards for name in flowkit_imports(guard)]

    assert offenders(guarded, but=(TOP, *LATE_IMPORTERS)) == {}


def test_what_is_private_is_imported_by_nobody() -> None:
    def private(source: str, tree: ast.Module) -> list[str]:
        return [name for name in names_imported(tree) if name.startswith("flowkit") and "._" in name]

    assert offenders(private) == {}


def test_a_file_fits_in_the_head() -> None:
    def too_long(source: str, tree: ast.Module) -> int:
        lines = len((ROOT / source).read_text(encoding="utf-8").splitlines())
        return lines if lines > MODULE_LINES else 0

    assert offenders(too_long, but=(OVERLOADS,)) == {}


def test_a_function_fits_on_a_screen() -> None:
    def too_long(source: str, tree: ast.Module) -> dict[str, int]:
        lengths = {function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions_in(tree)}
        return {name: length for name, length in lengths.items() if length > FUNCTION_LINES}

    assert offenders(too_long, but=(OVERLOADS, *TABLES)) == {}


def test_a_function_takes_a_handful_of_parameters() -> None:
    def too_many(source: str, tree: ast.Module) -> dict[str, int]:
        taken = {}
        for function in functions_in(tree):
            given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            taken[function.name] = len([one for one in given if one.arg not in ("self", "cls")])
        return {name: count for name, count in taken.items() if count > PARAMETERS}

    assert offenders(too_many, but=FACADES) == {}


def test_a_module_begins_with_one_sentence_that_says_what_it_is_for() -> None:
    def wordless_or_wordy(source: str, tree: ast.Module) -> str | None:
        if not tree.body:
            return None  # an empty __init__ has nothing to say
        first = (ast.get_docstring(tree) or "").split("\n\n")[0]
        is_sentence = first.endswith(".") and not re.search(r"[.!?]\s+[A-Z]", first)
        return None if is_sentence else first or "no docstring"

    assert offenders(wordless_or_wordy) == {}


def test_a_module_is_named_for_what_is_in_it() -> None:
    assert offenders(lambda source, tree: EMPTY_NAMES & set(source.removesuffix(".py").split("/"))) == {}


def test_sql_stands_in_the_store() -> None:
    def statements(source: str, tree: ast.Module) -> list[str]:
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        return [text.value for text in texts if id(text) not in prose and SQL.match(text.value)]

    assert offenders(statements, but=SQL_PLACES) == {}


def test_only_the_clock_tells_the_time() -> None:
    def told(source: str, tree: ast.Module) -> set[str]:
        used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        return (used | names_imported(tree)) & WALL_CLOCKS

    assert offenders(told, but=("flowkit/clock.py",)) == {}


def test_nothing_below_the_runtime_keeps_time_or_a_log() -> None:
    def kept(source: str, tree: ast.Module) -> set[str]:
        low = HEIGHT[part_of(source)] < HEIGHT["runtime"]
        return {name.split(".")[0] for name in imports_in(tree)} & LOGS_AND_CLOCKS if low else set()

    assert offenders(kept, but=(TOP, "flowkit/clock.py")) == {}


def test_nothing_is_pickled_or_evaluated() -> None:
    def unsafe(source: str, tree: ast.Module) -> set[str]:
        called = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        return {name.split(".")[0] for name in imports_in(tree)} & UNSAFE_MODULES | called & UNSAFE_CALLS

    assert offenders(unsafe) == {}
