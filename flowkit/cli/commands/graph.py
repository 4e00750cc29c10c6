"""The command ``graph``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from flowkit.cli.failing import NOT_FOUND, CommandFailed
from flowkit.cli.options import PackageName, RunId, with_output, with_project
from flowkit.cli.output import Output
from flowkit.cli.parse import Param, read_input
from flowkit.cli.place import LAST, Place, find_run
from flowkit.cli.words import command

if TYPE_CHECKING:
    from flowkit.drawing.graph import Box, Graph, Picture
    from flowkit.runtime.runtime import Runtime

MOST = 500
"""More boxes than that are no picture."""
DECIDED_LATER = "what its steps emit is decided while a run goes on, and not shown"


class Drawn(Param):
    """A run or a package; the shell completes both."""

    name = "run or package"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the packages and the ids that begin like this."""
        found = (PackageName().shell_complete(ctx, param, incomplete), RunId().shell_complete(ctx, param, incomplete))
        return [*found[0], *found[1]]


@click.command()
@click.argument("subject", metavar="RUN|PACKAGE", type=Drawn())
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "svg"]),
    default="text",
    show_default=True,
    help="How it is drawn.",
)
@click.option("--input", "given", metavar="JSON|@FILE|-", help="Of a package: the input that its entrypoint gets.")
@click.option("--expand", is_flag=True, help="A box for each step, however many are alike.")
@with_project
@with_output
def graph(place: Place, out: Output, subject: str, form: str, given: str | None, expand: bool) -> None:
    """Draw the steps of a run, or of a package before it runs.

    Four steps or more that are alike, as those of a map, are one box with
    how many there are in each status. Steps that were emitted while the run
    went on say by which one. Of a package, its entrypoint is called with
    the input and nothing is stored: what steps will emit is not known then.

    \b
    flowkit graph @last
    flowkit graph order --input @order.json --format svg > order.svg
    """
    from flowkit.drawing.folding import FOLD_FROM, fold

    found = _graph(place, subject, given)
    picture = fold(found, from_=len(found.nodes) + 1 if expand else FOLD_FROM)
    if out.is_json:
        out.json(_shape(picture))
        return
    if len(picture.boxes) > MOST:
        hint = f"{command('show', subject)} lists them" + (", and without --expand it may be one" if expand else "")
        raise CommandFailed(f"{len(picture.boxes)} boxes are no picture", where=found.title, hint=hint)
    _FORMS[form](picture, out)
    if not picture.is_run:
        out.note(DECIDED_LATER)


def _graph(place: Place, subject: str, given: str | None) -> Graph:
    """Return the graph of what is meant: a run by its whole id, a package, or a run by the beginning of its id."""
    from flowkit.runtime.pictures import graph_of_package, graph_of_run

    if given is None:
        run_id = place.looked_up(lambda runtime: _whole(runtime, subject))
        if run_id is not None:
            with place.reading() as runtime:
                return graph_of_run(runtime, run_id)
    value = read_input(given)
    with place.describing() as runtime:
        if given is not None or subject in runtime.packages:
            return graph_of_package(runtime, subject, value)
        known = ", ".join(runtime.packages)
    run_id = place.looked_up(lambda runtime: _begun(runtime, subject))
    if run_id is None:
        hint = f"the packages are {known}" if known else "-m MODULE names the module that declares it"
        what = f"neither a run nor a package is called {subject!r}"
        raise CommandFailed(what, hint=f"`flowkit runs` lists the runs; {hint}", code=NOT_FOUND)
    with place.reading() as runtime:
        return graph_of_run(runtime, run_id)


def _whole(runtime: Runtime, subject: str) -> str | None:
    if subject == LAST:
        return find_run(runtime, subject)
    return subject if runtime.workflow(subject) is not None else None


def _begun(runtime: Runtime, subject: str) -> str | None:
    return find_run(runtime, subject) if runtime.run_ids(subject, limit=1) else None


def _text(picture: Picture, out: Output) -> None:
    from flowkit.drawing.text import rows, words

    for lanes, box in rows(picture):
        out.box(lanes, words(box) if box is not None else [])


def _mermaid(picture: Picture, out: Output) -> None:
    from flowkit.drawing.mermaid import lines

    for line in lines(picture):
        out.line(line)


def _svg(picture: Picture, out: Output) -> None:
    from flowkit.drawing.svg import svg

    out.line(svg(picture).rstrip("\n"))


_FORMS: dict[str, Callable[[Picture, Output], None]] = {"text": _text, "mermaid": _mermaid, "svg": _svg}


def _shape(picture: Picture) -> dict[str, Any]:
    boxes = picture.boxes
    arrows = [{"from": arrow.source, "to": arrow.target, "role": arrow.role} for arrow in picture.arrows]
    return {"title": picture.title, "boxes": [_box_shape(box) for box in boxes], "arrows": arrows}


def _box_shape(box: Box) -> dict[str, Any]:
    return {
        "label": box.label,
        "kind": box.kind,
        "count": box.count,
        "statuses": dict(box.statuses),
        "emitted_by": box.emitted_by,
        "later": box.is_later,
    }
