"""The command ``explain``."""

from __future__ import annotations

import click

from flowkit.cli.options import StepId, run_argument, with_output, with_store
from flowkit.cli.output import Output
from flowkit.cli.place import Place, find_run
from flowkit.cli.words import when


@click.command()
@run_argument
@click.argument("step_id", metavar="STEP", type=StepId())
@with_store
@with_output
def explain(place: Place, out: Output, run_id: str, step_id: str) -> None:
    """Say why a step is not running now.

    Names what it waits for, who or what holds it, and the earliest time at
    which it could start, by the very rules by which steps are leased.
    """
    from flowkit.runtime.shapes import instant

    with place.reading() as runtime:
        found = runtime.explain(find_run(runtime, run_id), step_id)
    if out.is_json:
        out.json(
            {
                "run": found.run_id,
                "step": found.step_id,
                "status": found.status.value,
                "reason": found.reason,
                "text": found.text,
                "waits_for": list(found.waits_for),
                "held_by": list(found.held_by),
                "earliest_at": instant(found.earliest_at),
            }
        )
        return
    fields = {
        "step": f"{found.run_id}/{found.step_id}",
        "status": found.status.value,
        "reason": f"{found.reason}: {found.text}",
        "held by": ", ".join(found.held_by),
        "earliest": when(found.earliest_at),
    }
    out.fields({name: text for name, text in fields.items() if text})
