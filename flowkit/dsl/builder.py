"""The two builders: an entrypoint describes its run with one, an executor the steps it emits with the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowkit.dsl.bindings import read_targets
from flowkit.dsl.declarations import Encode
from flowkit.dsl.handles import StepGroup, StepHandle
from flowkit.dsl.kinds import Registry
from flowkit.dsl.planning import resolved_spans
from flowkit.dsl.steps import GraphBuilder
from flowkit.errors import GraphError, nearest
from flowkit.model.names import name_problem
from flowkit.model.plan import Node, Output, Plan

MAX_STEPS = 1_000_000
MAX_CHILDREN = 10_000


class RunBuilder(GraphBuilder):
    """What an entrypoint gets: it describes the first steps of a run, and nothing is stored before it returns.

    Attributes:
        id: the id of the run.
        name: a name for people; what the caller of ``start_run`` says wins.
        metadata: a JSON object for people and searches; the caller's keys win.
        output: the id of the step whose result is the run's, also of one that will be emitted later.
    """

    # So that a setting which a run does not have cannot be set, and is no typo that nobody notices.
    __slots__ = ("_package", "id", "metadata", "name", "output")
    __flowkit_run__ = True

    def __init__(
        self,
        *,
        run_id: str,
        registry: Registry,
        encode: Encode,
        default_queue: str | None = None,
        package: str = "",
    ) -> None:
        super().__init__(
            prefix=f"{run_id}:step",
            registry=registry,
            encode=encode,
            default_queue=default_queue,
            limit=(MAX_STEPS, "a run"),
        )
        self.id = run_id
        self.name: str | None = None
        self.metadata: dict[str, Any] = {}
        self.output: str | None = None
        self._package = package

    def finish(self, returned: Any = None) -> Plan:
        """Check the whole graph and return it as a plan; *returned* is what the entrypoint gave back.

        Raises:
            GraphError: no steps, an unknown step, a circle, results that disagree, or an output that is no step.
            LimitExceeded: too many edges.
        """
        if not self._ids:
            cause = f": the map {self._empty[0]!r} was given no inputs" if self._empty else ""
            raise GraphError(f"workflow package {self._package!r} entrypoint produced no initial steps{cause}")
        return self._plan(self._output(returned))

    def _output(self, returned: Any) -> Output | None:
        named = None if self.output is None else self._named_output(self.output)
        if returned is None:
            only = Output(self._ids[0]) if len(self._ids) == 1 else None
            return named or only
        given = self._returned_output(returned)
        if named is not None and named != given:
            raise GraphError(f"run.output names {self.output!r}, but the entrypoint returned {returned!r}; keep one")
        return given

    def _named_output(self, step_id: Any) -> Output:
        problem = name_problem(step_id)
        if problem:
            raise GraphError(f"run.output: {problem}; give the id of a step")
        return Output(step_id)

    def _returned_output(self, returned: Any) -> Output:
        if isinstance(returned, str):
            return self._named_output(returned)
        if not isinstance(returned, (StepHandle, StepGroup, list, tuple)) or not _are_steps(returned):
            raise GraphError(
                f"the entrypoint of package {self._package!r} returned {returned!r}; "
                f"return a handle, a group or a list of handles to name the run's output, or nothing"
            )
        nodes = [node for one in read_targets(self, returned, "run output") for node in one.nodes]
        if isinstance(returned, StepHandle):
            return Output(returned.id)
        return Output(spans=resolved_spans(nodes, self._resolve))

    def _resolve(self, name: str) -> Node:
        number = self._numbers.get(name)
        if number is None:
            raise GraphError(f"no step of this run has the id {name!r}{nearest(name, self._numbers)}")
        return number


class EmitBuilder(GraphBuilder):
    """What ``step.emit`` and ``step.map`` collect during one attempt; stored only if the step succeeds.

    An id that is not declared here is taken for that of a stored step of the run, which is checked on settlement.

    Args:
        parent_id: the id of the step that emits.
    """

    __slots__ = ()

    def __init__(self, *, parent_id: str, registry: Registry, encode: Encode, default_queue: str | None = None) -> None:
        super().__init__(
            prefix=f"{parent_id}:emit",
            registry=registry,
            encode=encode,
            default_queue=default_queue,
            limit=(MAX_CHILDREN, f"what step {parent_id!r} emits"),
        )

    def finish(self) -> Plan | None:
        """Check what was emitted and return it as a plan, or None where nothing was.

        Raises:
            GraphError: a circle, results that disagree, or something that is stored already was made to wait.
            LimitExceeded: too many edges.
        """
        if not self._ids:
            self._is_finished = True
            return None
        return self._plan(None)

    def _resolve(self, name: str) -> Node:
        return self._numbers.get(name, name)


def _are_steps(returned: Any) -> bool:
    items: Sequence[Any] = returned if isinstance(returned, (list, tuple)) else ()
    return all(isinstance(item, (StepHandle, str)) for item in items)
