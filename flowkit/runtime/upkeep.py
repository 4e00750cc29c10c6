"""Looks after a store as an operator does: checks it and mends what follows from what is whole, while workers go on."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from flowkit.artifacts import Swept
from flowkit.clock import micros
from flowkit.errors import DataCorrupted, DiscoveryError
from flowkit.runtime.check import CodeCheck, check_code
from flowkit.runtime.discovery import discover
from flowkit.runtime.doctor import Diagnosis, diagnose
from flowkit.runtime.reads import Reads
from flowkit.runtime.registry import Registry
from flowkit.store.check import PAST, Finding, Mended, check, install_guard, repair
from flowkit.store.check_windows import windows
from flowkit.store.engine import Engine


@attrs.frozen
class StoreCheck:
    """What was found in a store.

    Attributes:
        damage: what the database finds wrong with its own file; then nothing else was looked at, nor mended.
        findings: the invariants that do not hold, after mending.
        mended: what was set right now.
        mended_before: how many rows were set right in all the store's life, this time included.
    """

    damage: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    mended: tuple[Mended, ...] = ()
    mended_before: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with it now."""
        return not self.damage and not self.findings


def check_store(runtime: Reads, *, mend: bool = False) -> StoreCheck:
    """Ask a store every invariant and the checksum of every payload, artifact files included.

    It also leaves a guard in the store: triggers by which the database itself refuses an illegal move from now on.
    Each run is looked at in a short transaction of its own or with some others, so workers may go on meanwhile.

    Args:
        mend: make up for what was forgotten, and count again what is only a count, before the invariants are asked.

    Raises:
        StoreError: the store cannot be read or written.
    """
    runtime._parts.check_open()
    engine = runtime._parts.engine
    damage = _damage(engine)
    if damage:
        return StoreCheck(damage=damage)
    with engine.write() as tx:
        install_guard(tx)
    mended = _mend(engine) if mend else ()
    with engine.read() as tx:
        found = check(tx, runtime._parts.artifacts)
    before = sum(int(row[1]) for finding in found if finding.invariant in PAST for row in finding.rows)
    return StoreCheck((), tuple(one for one in found if one.invariant not in PAST), mended, before)


def _damage(engine: Engine) -> tuple[str, ...]:
    try:
        with engine.read() as tx:
            return tuple(engine.health.damage(tx))
    except DataCorrupted as error:
        return (str(error),)


def _mend(engine: Engine) -> tuple[Mended, ...]:
    counts: dict[str, int] = {}
    with engine.read() as tx:
        cut = list(windows(tx))
    for window in cut:
        with engine.write() as tx:
            for mended in repair(tx, window):
                counts[mended.what] = counts.get(mended.what, 0) + mended.count
    return tuple(Mended(what, count) for what, count in counts.items())


def check_modules(runtime: Reads, modules: Iterable[str]) -> CodeCheck:
    """Try the executors of these modules on every open step of the store; the store's catalog is left as it is.

    Raises:
        DiscoveryError, DuplicateExecutor, ExecutorSignatureError: of the modules.
    """
    runtime._parts.check_open()
    registry = Registry(runtime._parts.codec)
    for function in discover(modules):
        registry.add(function)
    return check_code(runtime._parts.engine, registry)


def examine(runtime: Reads, modules: Iterable[str]) -> Diagnosis:
    """Look a store over, and whether these modules can be imported."""
    runtime._parts.check_open()
    unreachable: dict[str, str] = {}
    for module in modules:
        try:
            for _ in discover([module]):
                pass
        except DiscoveryError as error:
            unreachable[f"module {module!r}"] = error.reason
    return diagnose(runtime._parts.engine, unreachable)


def prunable(runtime: Reads, *, older_than: float, statuses: Collection[str]) -> int:
    """Return how many runs ``prune`` would remove; *older_than* is in seconds since they ended."""
    runtime._parts.check_open()
    engine = runtime._parts.engine
    with engine.read() as tx:
        return engine.pruning.count(tx, older_than=tx.now() - micros(older_than), statuses=statuses)


def sweep_artifacts(runtime: Reads, *, grace: float) -> Swept:
    """Remove stored artifacts that no run refers to; without an artifact store there are none.

    Args:
        grace: seconds; must be longer than any lease, for an attempt refers to what it stored only when it commits.
    """
    runtime._parts.check_open()
    parts = runtime._parts
    if parts.artifacts is None:
        return Swept()
    with parts.engine.read() as tx:
        kept = parts.engine.pruning.artifact_hashes(tx)
    return parts.artifacts.gc(kept, older_than_seconds=grace, now=parts.clock.now())


def served_kinds(runtime: Reads) -> frozenset[str]:
    """Return the kinds that live workers of the store serve."""
    runtime._parts.check_open()
    return frozenset(kind for worker in runtime._parts.live() for kind in worker.kinds)
