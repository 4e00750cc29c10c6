"""The command ``check``: of the code against the store, and of the store itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowkit.cli.failing import FAILED, CommandFailed
from flowkit.cli.options import with_output
from flowkit.cli.output import Output
from flowkit.cli.place import Place, make_importable
from flowkit.cli.words import count

if TYPE_CHECKING:
    from flowkit.runtime.check import CodeCheck
    from flowkit.runtime.upkeep import StoreCheck

ITSELF = ""
NO_MODULES = "name them: -m MODULE, FLOWKIT_MODULES, or modules in [tool.flowkit]"


@click.command()
@click.option(
    "--store",
    "stores",
    metavar="[URL]",
    multiple=True,
    is_flag=False,
    flag_value=ITSELF,
    help="Without a URL: check the store itself. With one: which store; both may be given.",
)
@click.option("-m", "--module", "modules", metavar="MODULE", multiple=True, help="A module to check; may be repeated.")
@click.option("--repair", is_flag=True, help="With --store: mend what follows from what is whole, such as counts.")
@with_output
def check(out: Output, stores: tuple[str, ...], modules: tuple[str, ...], repair: bool) -> int:
    """Find what this code, or the store, is not fit for.

    Without --store: whether the project's modules serve every unfinished run
    of the store: kinds that are gone, inputs and results that no longer fit.
    With --store: the database file, every invariant, the checksum of every
    payload and artifact; a guard against illegal moves is left in the store.
    Both may be done while workers run. Exits with 1 where something is found.

    \b
    flowkit check -m shop
    flowkit check --store --repair
    """
    named = [url for url in stores if url != ITSELF]
    place = Place(named[-1] if named else None, modules)
    if ITSELF in stores:
        return _check_store(place, out, repair)
    if repair:
        raise CommandFailed("--repair mends the store", where="flowkit check", hint="flowkit check --store --repair")
    return _check_code(place, out)


def _check_code(place: Place, out: Output) -> int:
    from flowkit.runtime.upkeep import check_modules

    settings = place.settings
    with place.reading() as runtime:
        if not settings.modules:
            raise CommandFailed("there are no modules to check", hint=NO_MODULES)
        make_importable(settings)
        found = check_modules(runtime, settings.modules)
    if out.is_json:
        out.json(_code_shape(found))
    else:
        _tell_code(found, out)
    return 0 if found.is_sound else FAILED


def _code_shape(found: CodeCheck) -> dict[str, Any]:
    import attrs

    return {"sound": found.is_sound, **attrs.asdict(found)}


def _tell_code(found: CodeCheck, out: Output) -> None:
    for misfit in found.misfits:
        out.text(f"{misfit.problem} {misfit.kind}: {count(misfit.count, 'problem')}")
        for one in misfit.examples:
            out.text(f"{one.run_id}/{one.step_id}: {one.message}", "  ")
        more = misfit.count - len(misfit.examples)
        if more:
            out.line(f"  and {more} more")
        out.text(f"hint: {misfit.hint}", "  ")
    looked = f"{count(found.steps, 'open step')} of {count(found.runs, 'unfinished run')}"
    out.text(f"{looked}: this code {'serves' if found.is_sound else 'does not serve'} all of them")


def _check_store(place: Place, out: Output, repair: bool) -> int:
    from flowkit.runtime.upkeep import check_store

    with place.reading() as runtime:
        found = check_store(runtime, mend=repair)
    if out.is_json:
        out.json(_store_shape(found))
    else:
        _tell_store(found, out)
    return 0 if found.is_sound else FAILED


def _store_shape(found: StoreCheck) -> dict[str, Any]:
    findings = [
        {"invariant": one.invariant, "title": one.title, "count": one.count, "examples": [_shown(r) for r in one.rows]}
        for one in found.findings
    ]
    return {
        "sound": found.is_sound,
        "damage": list(found.damage),
        "findings": findings,
        "mended": {one.what: one.count for one in found.mended},
        "mended_before": found.mended_before,
    }


def _tell_store(found: StoreCheck, out: Output) -> None:
    for line in found.damage:
        out.text(f"damaged: {line}")
    for mended in found.mended:
        out.text(f"mended: {mended.what}: {mended.count}")
    for one in found.findings:
        out.text(f"{one.invariant} {one.title}: {one.count}")
        for row in one.rows:
            out.text(_shown(row), "  ")
    if found.is_sound:
        out.line("the store is sound")
    elif not found.damage:
        out.text("hint: flowkit check --store --repair mends what follows from what is whole; a backup has the rest")
    if found.mended_before and not found.mended:
        out.note(f"{count(found.mended_before, 'row')} of it had to be mended before")


def _shown(row: tuple[Any, ...]) -> str:
    return " ".join(str(value) for value in row)
