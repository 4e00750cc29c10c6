"""The command ``artifact``: ``get`` and ``list``."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from flowkit.cli.failing import NOT_FOUND, CommandFailed
from flowkit.cli.lazy import Group
from flowkit.cli.options import StepId, run_argument, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import SHOWN, Place, find_run
from flowkit.cli.plain import Column
from flowkit.cli.words import command

if TYPE_CHECKING:
    from typing import BinaryIO

    from flowkit.model.outputs import Artifact
    from flowkit.runtime.runtime import Runtime

COLUMNS = [Column("ARTIFACT"), Column("NAME", shrinks=True), Column("SIZE", right=True), Column("TYPE", shrinks=True)]


@click.group(cls=Group)
def artifact() -> None:
    """List the artifacts of a run, or get one."""


@artifact.command("list")
@run_argument
@click.argument("step_id", metavar="[STEP]", required=False, type=StepId())
@with_store
@with_output
def list_(place: Place, out: Output, run_id: str, step_id: str | None) -> None:
    """List the artifacts of a run, or of one of its steps."""
    from flowkit.runtime.shapes import artifact_shape

    with place.reading() as runtime:
        run_id = find_run(runtime, run_id)
        found = runtime.artifacts(run_id, step_id)
    if out.is_json:
        out.json({"artifacts": [artifact_shape(one) for one in found]})
        return
    if not found:
        out.note(f"there are no artifacts in run {run_id!r}")
        return
    out.table(COLUMNS, [[one.id, one.name, str(one.size), one.content_type or ""] for one in found])


@artifact.command()
@run_argument
@click.argument("artifact_id", metavar="ARTIFACT")
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write it there, not to stdout.")
@with_store
def get(place: Place, run_id: str, artifact_id: str, output: str | None) -> None:
    """Write the bytes of an artifact to stdout, or to a file.

    \b
    flowkit artifact get @last pack[0]:artifact:001 -o label.txt
    """
    with place.reading() as runtime:
        run_id = find_run(runtime, run_id)
        found = _artifact(runtime, run_id, artifact_id)
        try:
            if output is None:
                _copy(place, found, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                with open(output, "wb") as file:
                    _copy(place, found, file)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandFailed(f"cannot write the artifact: {error.strerror}", where=output or "stdout") from error


def _artifact(runtime: Runtime, run_id: str, artifact_id: str) -> Artifact:
    from flowkit.errors import ResultNotFound, nearest

    try:
        return runtime.artifact(run_id, artifact_id)
    except ResultNotFound:
        known = runtime.artifacts(run_id)
        named = [one.id for one in known if one.name == artifact_id]
        if len(named) == 1:
            return runtime.artifact(run_id, named[0])
        if named:
            shown = ", ".join(named[:SHOWN]) + (", ..." if len(named) > SHOWN else "")
            raise CommandFailed(f"several artifacts are named {artifact_id!r}", hint=f"say which: {shown}") from None
        near = nearest(artifact_id, [text for one in known for text in (one.id, one.name)]).removeprefix("; ")
        hint = f"{near} `{command('artifact', 'list', run_id)}` lists those that are there".strip()
        raise CommandFailed(f"run {run_id!r} has no artifact {artifact_id!r}", hint=hint, code=NOT_FOUND) from None


def _copy(place: Place, found: Artifact, target: BinaryIO) -> None:
    from flowkit.artifacts import FileArtifactStore

    if found.body is not None:
        target.write(found.body)
        return
    directory = place.settings.artifacts
    if directory is None:
        hint = "set FLOWKIT_ARTIFACTS, or write artifacts = \"DIRECTORY\" into [tool.flowkit] of pyproject.toml"
        raise CommandFailed(f"the bytes of {found.id} lie in the artifact store, and no setting names it", hint=hint)
    with FileArtifactStore(directory).open(found.id) as source:
        shutil.copyfileobj(source, target)
