"""The command ``doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.failing import FAILED
from flowkit.cli.options import with_output, with_project
from flowkit.cli.output import Output
from flowkit.cli.place import Place, make_importable, shown_url
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.runtime.doctor import Diagnosis


@click.command()
@with_project
@with_output
def doctor(place: Place, out: Output) -> int:
    """Say what keeps work from being done.

    Looks at the database file, the workers, leases that nobody takes back,
    kinds that nobody serves, queues, and the project's modules; each thing
    comes with how to mend it. Exits with 1 where there is a problem.
    """
    from flowkit.runtime.upkeep import examine

    settings = place.settings
    with place.reading() as runtime:
        make_importable(settings)
        seen = examine(runtime, settings.modules)
    url = shown_url(settings.store_url())
    if out.is_json:
        out.json(_shape(seen, url))
    else:
        _tell(seen, url, out)
    return 0 if seen.is_healthy else FAILED


def _shape(seen: Diagnosis, url: str) -> dict[str, Any]:
    import attrs

    return {
        "healthy": seen.is_healthy,
        "store": url,
        "schema_version": seen.schema_version,
        "workers": {"live": [one.id for one in seen.live], "dead": [one.id for one in seen.dead]},
        "complaints": [attrs.asdict(one) for one in seen.complaints],
    }


def _tell(seen: Diagnosis, url: str, out: Output) -> None:
    workers = f"{len(seen.live)} live" + (f", {len(seen.dead)} dead" if seen.dead else "")
    out.fields({"store": url, "schema": str(seen.schema_version), "workers": workers})
    for one in seen.complaints:
        out.line()
        out.text(f"{one.level}: {one.what}")
        out.text(f"mend: {one.remedy}", "  ")
    out.line()
    problems = sum(one.level == "problem" for one in seen.complaints)
    out.line("nothing is wrong" if not problems else count(problems, "problem"))
