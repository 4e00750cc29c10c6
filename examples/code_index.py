"""Index a source tree with a durable run: scan, one step for each module, and a join that publishes what they found.

    python examples/code_index.py                     # the standard library of this Python
    python examples/code_index.py src --search "retry delay"

Kill it half-way, as hard as you like, and start it again: it goes on where it was. The index of a tree is made once;
another --directory makes another one.
"""

import argparse
import ast
import json
import sys
import sysconfig
import time
import tokenize
from hashlib import sha256
from pathlib import Path

from attrs import frozen

from flowkit import (
    FileArtifactStore,
    Permanent,
    Retry,
    RunBuilder,
    RunFailed,
    RunHandle,
    RunStatus,
    Runtime,
    SQLiteProjectionStore,
    SQLiteStore,
    StepContext,
    WaitTimeout,
    executor,
    optional,
    package,
)

SKIPPED = {"site-packages", "dist-packages", "__pycache__", ".git", ".venv", "node_modules"}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
SCHEMA = "CREATE VIRTUAL TABLE IF NOT EXISTS modules USING fts5(path, name, definitions, imports, docs)"


@frozen
class Tree:
    root: Path


@frozen
class ModuleFile:
    root: Path
    path: str


@frozen
class ModuleFacts:
    path: str
    name: str
    lines: int
    definitions: list[str]
    imports: list[str]
    docs: str


@frozen
class Index:
    modules: int
    unreadable: int
    definitions: int
    lines: int
    artifact: str


def short_name(file: ModuleFile) -> str:
    """A path may be too long for an id, and hold what an id may not; its hash does not."""
    return sha256(file.path.encode()).hexdigest()[:16]


@executor("code/scan")
def scan(step: StepContext, tree: Tree) -> int:
    """List the modules; the steps that read them and the step that joins them are stored together with this result."""
    if not tree.root.is_dir():
        raise Permanent("no_such_tree", f"{tree.root} is not a directory")
    found = (path.relative_to(tree.root) for path in tree.root.rglob("*.py"))
    paths = sorted(path.as_posix() for path in found if SKIPPED.isdisjoint(path.parts))
    files = [ModuleFile(tree.root, path) for path in paths]
    modules = step.map("module", read_module, files, key=short_name, allow_failure=True)
    step.emit("publish", publish, modules=optional(modules))
    return len(paths)


@executor("code/module", retry=Retry(on=(OSError,), initial=0.1), queue="modules")
def read_module(step: StepContext, file: ModuleFile) -> ModuleFacts:
    """Parse one module; a file that is no Python is a permanent failure, and an allowed one."""
    try:
        with tokenize.open(file.root / file.path) as source:
            text = source.read()
        tree = ast.parse(text)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise Permanent("not_python", error) from error
    return ModuleFacts(
        path=file.path,
        name=file.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."),
        lines=text.count("\n"),
        definitions=sorted({node.name for node in ast.walk(tree) if isinstance(node, DEFINITIONS)}),
        imports=sorted(imported(tree)),
        docs=clean(ast.get_docstring(tree) or ""),
    )


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def clean(text: str) -> str:
    """Docstrings of tests hold all sorts of characters; JSON text takes no lone surrogates and no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


@executor("code/publish")
def publish(step: StepContext, *, modules: list[ModuleFacts | None]) -> Index:
    """Write the searchable projection and the artifact; done twice it leaves the same, so it may be repeated."""
    known = [module for module in modules if module is not None]
    search = step.projection("code")
    with search.transaction():
        search.execute("DROP TABLE IF EXISTS modules")
        search.execute(SCHEMA)
        for number, module in enumerate(known):
            words = (" ".join(module.definitions), " ".join(module.imports), module.docs)
            search.execute("INSERT INTO modules VALUES (?, ?, ?, ?, ?)", (module.path, module.name, *words))
            step.progress(number + 1, len(known), module.name)
    listing = {module.name: {"definitions": module.definitions, "imports": module.imports} for module in known}
    stored = step.store_artifact("index.json", json.dumps(listing, indent=1).encode(), "application/json")
    return Index(
        modules=len(known),
        unreadable=len(modules) - len(known),
        definitions=sum(len(module.definitions) for module in known),
        lines=sum(module.lines for module in known),
        artifact=stored.id,
    )


@package("code-index", display_name="Code index")
def code_index(run: RunBuilder, tree: Tree) -> None:
    run.name = f"index of {tree.root}"[:200]
    run.step("scan", scan, tree)
    run.output = "publish"


def open_runtime(directory: Path) -> Runtime:
    return Runtime(
        SQLiteStore(directory / "engine.db"),
        modules=[__name__],
        entry_points=False,
        artifact_store=FileArtifactStore(directory / "artifacts"),
        projection_store=SQLiteProjectionStore(directory / "projections"),
        lease_duration=5,
    )


def start(rt: Runtime, root: Path) -> RunHandle[Index]:
    # The same tree gives the same run: started again after a crash, this finds it, and its steps go on.
    run: RunHandle[Index] = rt.start_run(
        code_index, Tree(root), run_id=f"code-index-{sha256(str(root).encode()).hexdigest()[:12]}"
    )
    if run.status() == RunStatus.FAILED:
        rt.retry_run(run.id)
    told = "indexing" if run.created else "found the index of" if run.status().is_ended else "going on with"
    print(f"{told} {root}, run {run.id}", flush=True)
    return run


def watch(rt: Runtime, run: RunHandle[Index], every: float) -> None:
    while True:
        try:
            run.wait(timeout=every)
            return
        except WaitTimeout:
            found = rt.workflow(run.id)
            if found is not None:
                print(f"  {found.steps.total - found.steps.open:5d} of {found.steps.total} steps done", flush=True)


def show(rt: Runtime, index: Index, search: str) -> None:
    print(f"{index.modules} modules, {index.lines} lines, {index.definitions} names; {index.unreadable} unreadable")
    print(f"artifact {index.artifact[:19]}...; best matches for {search!r}:")
    query = "SELECT name, docs FROM modules WHERE modules MATCH ? ORDER BY rank, name LIMIT 5"
    for row in rt.projection("code").query(query, (search,)):
        print(f"  {row['name']:32} {row['docs'].partition(chr(10))[0][:60]}".rstrip())


def main() -> int:
    parser = argparse.ArgumentParser(description="Index a source tree with a durable run.")
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    parser.add_argument("root", type=Path, nargs="?", default=stdlib, help="the tree; else the standard library")
    parser.add_argument("--directory", type=Path, default=Path("var/code-index"), help="where everything is kept")
    parser.add_argument("--search", default="lease OR lock OR retry", help="what to look for in the finished index")
    parser.add_argument("--every", type=float, default=1.0, help="seconds from one line of progress to the next")
    arguments = parser.parse_args()
    with open_runtime(arguments.directory) as rt:
        started = time.monotonic()
        run = start(rt, arguments.root.resolve())
        try:
            with rt.workers():
                watch(rt, run, arguments.every)
            show(rt, run.result(), arguments.search)
        except RunFailed as failed:
            print(failed, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; start it again and it goes on", file=sys.stderr)
            return 130
        print(f"done in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
