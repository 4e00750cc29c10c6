"""How steps are declared, one by one or one for each input: what every builder has in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from flowkit.dsl.bindings import Targets, read_bindings, read_targets, read_waiters
from flowkit.dsl.declarations import (
    Declaration,
    Encode,
    checked_id,
    checked_inputs,
    encoded_input,
    member_ids,
)
from flowkit.dsl.graph import DuplicateStep, Wait
from flowkit.dsl.handles import StepGroup, StepHandle
from flowkit.dsl.kinds import MISSING, KindBook, Registry
from flowkit.dsl.options import OptionReader
from flowkit.dsl.planning import Assembly
from flowkit.dsl.typing import MapCall, StepCall
from flowkit.errors import GraphError, LimitExceeded
from flowkit.model.names import shortened
from flowkit.model.plan import Node, Output, Plan


class GraphBuilder:
    """Collects declared steps; ``RunBuilder`` and ``EmitBuilder`` say what is particular to each.

    Args:
        prefix: what default ids begin with; the number of the step follows.
        registry: knows the executors.
        encode: ``encode(value, annotation, where)`` gives JSON, or raises ``InvalidInput``.
        default_queue: the queue of steps for which neither the step nor its executor names one.
        limit: how many steps may be declared, and in what.
    """

    __slots__ = (
        "_declarations",
        "_empty",
        "_encode",
        "_ids",
        "_is_finished",
        "_kinds",
        "_limit",
        "_numbers",
        "_options",
        "_prefix",
        "_twins",
        "_waits",
    )

    def __init__(
        self, *, prefix: str, registry: Registry, encode: Encode, default_queue: str | None, limit: tuple[int, str]
    ) -> None:
        self._prefix, self._encode, self._limit = prefix, encode, limit
        self._kinds = KindBook(registry)
        self._options = OptionReader(default_queue, encode)
        self._declarations: list[Declaration] = []
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._waits: list[Wait] = []
        self._twins: dict[tuple[str, str], StepHandle[Any]] = {}
        self._empty: list[str] = []
        self._is_finished = False

    @property
    def step(self) -> StepCall:
        """Declare one step: ``run.step(id, executor_or_kind, input, after=..., parameter=handle)``.

        Gives the handle of the step. Options replace those of the executor, which replace those of the package.

        Args:
            id (str | None): unique in its run; None or blank gives a default.
            executor (Callable | str): the marked function, or a kind by its name.
            input (Any): what fits the executor's annotation; left out where it takes none.
            queue (str | None): the line that it waits in.
            retry (Retry | None): its retry policy.
            timeout (float | timedelta | None): seconds that one attempt may take.
            priority (int | None): -1000 to 1000, smaller first, within one queue.
            delay (float | timedelta | None): seconds to wait once its dependencies are met; not repeated on retries.
            after (StepHandle | StepGroup | list | str | None): what it waits for without taking a result.
            dedup_key (str | None): a step of this kind with this key that was declared before is given instead.
            metadata (Mapping | None): JSON of your own, kept with the step.
            allow_failure (bool): the run may succeed although this step fails.
            results (StepHandle | StepGroup | list | str): any other keyword is a result parameter of the executor.

        Raises:
            GraphError: what is declared cannot be part of a graph; the message says what and where.
            InvalidInput: the input does not fit the executor's annotation.
            LimitExceeded: too many steps.
        """
        return self._step

    @property
    def map(self) -> MapCall:
        """Declare one step for each input: ids ``page[0]``, ``page[1]``..., or ``page[{key(input)}]``.

        Options and result parameters go to each; a ``dedup_key`` gets the same ending as the id. Gives the group.

        Args:
            id (str | None): what the ids begin with.
            executor (Callable | str): the marked function, or a kind by its name.
            inputs (Iterable): the inputs; they must be known here, so a handle is refused.
            key (Callable | None): makes the text in the brackets of each id from the input, instead of its number.

        Raises:
            GraphError, InvalidInput, LimitExceeded: as ``step`` does; nothing is declared then.
        """
        return self._map

    def id_of(self, number: int) -> str:
        """Return the id of the step with this number, in order of declaration."""
        return self._ids[number]

    def order(self, earlier: Any, later: Any) -> None:
        """Make every step in *later* wait for every step in *earlier*; ``chain`` and ``>>`` do this.

        Raises:
            GraphError: something is no step of this graph, or the graph is finished.
        """
        self._refuse_when_finished()
        waiters = read_waiters(self, later, "chain")
        self._wait(waiters, read_targets(self, earlier, "chain"))

    def _step(self, id: str | None, executor: Any, input: Any = MISSING, /, **given: Any) -> StepHandle[Any]:
        self._refuse_when_finished()
        step_id = checked_id(id, self._default_id())
        owner = f"step {step_id!r}"
        kind = self._kinds.find(executor, owner)
        options = self._options.read(owner, given, kind.definition)
        after = read_targets(self, given.pop("after", None), f"{owner}: after")
        bound = read_bindings(self, kind, given, owner)
        twin = self._twins.get((kind.name, options.dedup_key)) if options.dedup_key else None
        if twin is not None:
            return twin
        body, key = encoded_input(kind, input, step_id, self._encode), options.dedup_key
        numbers = self._declare(Declaration(kind, options, bound, [step_id], [body], [key] if key else []))
        self._wait(numbers, [*after, *(one.targets for one in bound)])
        return self._twins[kind.name, key] if key else StepHandle(self, numbers[0], step_id, kind.name)

    def _map(
        self,
        id: str | None,
        executor: Any,
        inputs: Iterable[Any],
        /,
        *,
        key: Callable[[Any], object] | None = None,
        **given: Any,
    ) -> StepGroup[Any]:
        self._refuse_when_finished()
        base = checked_id(id, self._default_id())
        owner = f"step {base!r}"
        kind = self._kinds.find(executor, owner)
        options = self._options.read(owner, given, kind.definition)
        after = read_targets(self, given.pop("after", None), f"{owner}: after")
        bound = read_bindings(self, kind, given, owner)
        ids = member_ids(base, checked_inputs(inputs, owner), key, owner)
        declaration = Declaration(kind, options, bound)
        twins = self._add_members(declaration, ids)
        new = self._declare(declaration)
        members = _filled(twins, new) if twins else new
        place = None if members else self._place_of_empty(base)
        self._wait(new if place is None else (place,), [*after, *(one.targets for one in bound)])
        return StepGroup(self, members, base, kind.name, place)

    def _add_members(self, declaration: Declaration, ids: Iterable[tuple[str, str, Any]]) -> list[int | None]:
        """Add a step for each input; with a dedup key, return which of them were declared before, as what number."""
        shared, kind, encode = declaration.options.dedup_key, declaration.kind, self._encode
        room = self._limit[0] - len(self._ids)
        twins: list[int | None] = []
        added, inputs, keys = declaration.ids, declaration.inputs, declaration.dedup_keys
        for suffix, step_id, value in ids:
            if shared is not None:
                own_key = shortened(shared + suffix)
                twin = self._twins.get((kind.name, own_key))
                twins.append(None if twin is None else twin._number)
                if twin is not None:
                    continue
                keys.append(own_key)
            if len(added) >= room:
                self._refuse_more()
            inputs.append(encoded_input(kind, value, step_id, encode))
            added.append(step_id)
        return twins

    def _declare(self, declaration: Declaration) -> range:
        """Declare steps, all or none of them, and return their numbers."""
        first, ids, kind = len(self._ids), declaration.ids, declaration.kind.name
        if first + len(ids) > self._limit[0]:
            self._refuse_more()
        numbers = range(first, first + len(ids))
        added = dict(zip(ids, numbers))
        if len(added) < len(ids) or not self._numbers.keys().isdisjoint(added):
            counts = Counter([*self._ids, *ids])
            twice = next(id for id in ids if counts[id] > 1)
            raise DuplicateStep(f"step id {twice!r} is declared twice; ids are unique within a run")
        again = next((key for key in declaration.dedup_keys if (kind, key) in self._twins), None)
        if again is not None:
            raise GraphError(f"dedup key {again!r} was declared while its map was: list the inputs before the map")
        if ids:
            declaration.first = first
            self._declarations.append(declaration)
            self._numbers.update(added)
            self._ids.extend(ids)
        for number, id, key in zip(numbers, ids, declaration.dedup_keys):
            self._twins[kind, key] = StepHandle(self, number, id, kind)
        return numbers

    def _wait(self, waiters: Sequence[Node], targets: Iterable[Targets]) -> None:
        self._waits.extend(Wait(waiters, one) for one in targets if waiters)

    def _place_of_empty(self, base: str) -> int:
        self._empty.append(base)
        return -len(self._empty)

    def _default_id(self) -> str:
        return f"{self._prefix}:{len(self._ids) + 1:03d}"

    def _refuse_more(self) -> NoReturn:
        limit, noun = self._limit
        raise LimitExceeded(f"{noun} has at most {limit} steps, this is one more; pass the rest on to a step")

    def _refuse_when_finished(self) -> None:
        if self._is_finished:
            raise GraphError("this graph is finished: its steps are handed over, and nothing can be added")

    def _resolve(self, name: str) -> Node:
        """Return the number of the step with this id; each builder says what an id means that is not declared."""
        raise NotImplementedError

    def _plan(self, output: Output | None) -> Plan:
        plan = Assembly(self._declarations, self._ids, self._waits, self._resolve).plan(output)
        self._is_finished = True
        return plan


def _filled(twins: Iterable[int | None], new: Iterable[int]) -> tuple[int, ...]:
    fresh = iter(new)
    return tuple(next(fresh) if twin is None else twin for twin in twins)
