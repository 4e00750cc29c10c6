"""The command ``torture``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.failing import FAILED
from flowkit.cli.options import with_output
from flowkit.cli.output import Output
from flowkit.cli.parse import Duration, read_input
from flowkit.cli.place import make_importable
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.torture.harness import Report

HEADINGS = {
    "invariant": "an invariant of the store does not hold: a defect of flowkit, please report it",
    "damage": "the store's file is damaged: a defect of flowkit or of SQLite, please report it",
    "undisturbed": "not the same from one undisturbed run to the next",
    "differs": "not the same as undisturbed",
    "stuck": "does not end",
    "died": "a worker process ended by itself",
}


@click.command()
@click.argument("modules", metavar="MODULE...", nargs=-1, required=True)
@click.option("--package", "packages", metavar="NAME", multiple=True, help="Only this package; may be given again.")
@click.option("--input", "inputs", metavar="JSON|@FILE", multiple=True, help="An input of it; may be given again.")
@click.option("--kills", metavar="N", type=click.IntRange(0), default=20, show_default=True, help="Workers to kill.")
@click.option("--seconds", type=Duration(), default=120.0, help="No round begins later than this: 120.")
@click.option("--seed", metavar="N", type=int, help="Decides the faults; without one it is drawn.")
@click.option("--copies", metavar="N", type=click.IntRange(1, 1000), help="How often each case runs in a round.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 64), default=3, show_default=True, help="At once.")
@click.option("--patience", type=Duration(), default=20.0, help="After so long without a change a run is stuck: 20.")
@with_output
def torture(out: Output, modules: tuple[str, ...], inputs: tuple[str, ...], **options: Any) -> int:
    """Run your packages while workers are killed, and say what broke.

    In a scratch store: first undisturbed, then while workers are killed,
    paused beyond their lease, have wrong clocks, and find the store locked.
    Every run must come to what it came to undisturbed. Without --package:
    each package that needs no input, or has some in the module's
    torture_inputs. What the steps do to the world, they do many times.

    \b
    flowkit torture shop.flows --package order --input '{"id": "A-17"}'
    flowkit torture shop.flows --kills 100 --seed 7
    """
    from flowkit.cli.settings import read_settings
    from flowkit.torture.cases import cases_of
    from flowkit.torture.harness import torture as play
    from flowkit.torture.rounds import Setting

    make_importable(read_settings(None, ()))
    cases = cases_of(modules, options["packages"], [read_input(one) for one in inputs])
    setting = Setting(modules, cases, 1, options["workers"], patience=options["patience"])
    limits = {name: options[name] for name in ("kills", "seconds", "seed", "copies")}
    if not out.is_json:
        out.note(f"running {count(len(cases), 'case')} undisturbed, then under faults")
    report = play(setting, **limits)
    replay = _replay(modules, inputs, options, report)
    if out.is_json:
        out.json(_shape(report, replay))
    else:
        _tell(out, report, replay)
    return 0 if report.is_sound else FAILED


def _replay(modules: tuple[str, ...], inputs: tuple[str, ...], options: dict[str, Any], report: Report) -> str:
    words = ["flowkit", "torture", *modules]
    words += [word for name in options["packages"] for word in ("--package", name)]
    words += [word for text in inputs for word in ("--input", text)]
    words += ["--kills", str(options["kills"]), "--seed", str(report.seed), "--copies", str(report.copies)]
    words += ["--workers", str(options["workers"])] if options["workers"] != 3 else []
    return shlex.join(words)


def _shape(report: Report, replay: str) -> dict[str, Any]:
    import attrs

    return {"sound": report.is_sound, **attrs.asdict(report), "replay": replay}


def _tell(out: Output, report: Report, replay: str) -> None:
    faults = [
        count(report.kills, "kill"),
        count(report.pauses, "pause"),
        count(report.clocks, "wrong clock"),
        count(report.locks, "locked store"),
    ]
    done = f"{count(report.runs, 'run')} with {count(report.steps, 'step')} in {count(report.rounds, 'round')}"
    out.text(f"{done}: {', '.join(faults)}; {count(report.lost, 'attempt')} lost with their worker")
    if report.spared:
        out.text(f"{count(report.spared, 'run')} not judged: faults used up the attempts of their steps")
    for one in report.broken:
        where = "/".join(part for part in (one.run_id, one.step_id) if part)
        times = f" ({one.count} times)" if one.count > 1 else ""
        out.line()
        out.text(f"{HEADINGS[one.kind]}{': ' + where if where else ''}{times}")
        for line in one.text.splitlines():
            out.text(line, "  ")
    if report.is_sound:
        out.text("every run came to what it comes to undisturbed, and every invariant held")
        return
    out.line()
    out.line(f"replay: {replay}")
    out.line(f"left in {report.scratch}: flowkit show RUN --store sqlite:///{report.scratch}/ROUND/engine.db")
