"""What one ``step`` or ``map`` declared, kept until the graph is finished, and the inputs it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from flowkit.dsl.bindings import Bound
from flowkit.dsl.handles import StepGroup, StepHandle
from flowkit.dsl.kinds import MISSING, Kind
from flowkit.dsl.options import Options
from flowkit.errors import GraphError
from flowkit.model.names import name_problem, shortened
from flowkit.model.plan import Binding, StepSpec

Encode = Callable[[Any, Any, str], bytes]
"""``encode(value, annotation, where)`` gives JSON, or raises ``InvalidInput`` saying where it does not fit."""

NO_INPUT = b"null"


@attrs.define(eq=False)
class Declaration:
    """Steps declared by one call: they differ in nothing but id, input and dedup key.

    Attributes:
        bound: not resolved yet, for what is bound may be declared later.
        inputs: as JSON.
        dedup_keys: of each its own, where the options have one.
        first: the number of the first of them, once they are declared.
    """

    kind: Kind
    options: Options
    bound: tuple[Bound, ...]
    ids: list[str] = attrs.field(factory=list)
    inputs: list[bytes] = attrs.field(factory=list)
    dedup_keys: list[str] = attrs.field(factory=list)
    first: int = 0

    def spec(self, bindings: tuple[Binding, ...]) -> StepSpec:
        """Return the steps as they are handed to the store."""
        given = self.options
        policy = (given.queue, given.priority, given.retry, given.timeout, given.delay, given.allow_failure)
        own = (self.dedup_keys or None, given.metadata, bindings)
        return StepSpec(self.kind.name, self.ids, self.inputs, *policy, *own)


def encoded_input(kind: Kind, value: Any, step_id: str, encode: Encode) -> bytes:
    """Return the JSON of a step's input; where none is given, that of the parameter's default.

    Raises:
        GraphError: the executor needs an input and gets none, or takes none and gets one.
        InvalidInput: the value does not fit the annotation.
    """
    if not kind.takes_input:
        if value is MISSING or value is None:
            return NO_INPUT
        raise GraphError(f"step {step_id!r}: executor {kind.name!r} takes no input, but was given {_shown(value)}")
    if value is MISSING:
        if kind.input_required:
            raise GraphError(f"step {step_id!r}: executor {kind.name!r} needs an input, and none was given")
        if kind.default is MISSING:
            return NO_INPUT
        value = kind.default
    elif isinstance(value, (StepHandle, StepGroup)):
        text = f"bind {value!r} as a keyword: a handle is no input, its result is not there yet"
        raise GraphError(f"step {step_id!r}: {text}")
    # A fast encoder may hand out bytes that keep a page of spare room each; a copy has none, and a map makes many.
    return bytes(memoryview(encode(value, kind.input_type, f"step {step_id!r}: input")))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def checked_inputs(inputs: Any, owner: str) -> Iterable[Any]:
    """Return what ``map`` fans out over, or raise ``GraphError`` where that cannot be known now."""
    if isinstance(inputs, (StepHandle, StepGroup)):
        raise GraphError(f"{owner}: the inputs of map are not known yet: fan out inside an executor with step.map")
    if isinstance(inputs, (str, bytes)) or not isinstance(inputs, Iterable):
        raise GraphError(f"{owner}: expected a list of inputs, got {_shown(inputs)}")
    if isinstance(inputs, Mapping):
        hint = "write list(inputs.values()), or list(inputs.items()) for pairs"
        raise GraphError(f"{owner}: expected a list of inputs, got a {type(inputs).__name__}; {hint}")
    return inputs


def member_ids(
    base: str, inputs: Iterable[Any], key: Callable[[Any], object] | None, owner: str
) -> Iterator[tuple[str, str, Any]]:
    """Yield ``[0]``, ``[1]``... or ``[key]``, the id that ends so, and the input.

    Raises:
        GraphError: two inputs have the same key, or one makes no id.
    """
    if key is None:
        for number, value in enumerate(inputs):
            suffix = f"[{number}]"
            yield suffix, shortened(base + suffix), value
        return
    if not callable(key):
        raise GraphError(f"{owner}: key: expected a function of an input, got {key!r}")
    seen: set[str] = set()
    for value in inputs:
        made = key(value)
        if made is None:
            raise GraphError(f"{owner}: key: expected a text or number for each input, got None for {_shown(value)}")
        text = str(made)
        if text in seen:
            raise GraphError(f"{owner}: two inputs have the key {text!r}; keys must differ, for they make the ids")
        seen.add(text)
        suffix = f"[{text}]"
        yield suffix, _keyed_id(base, suffix), value


def checked_id(value: Any, default: str) -> str:
    """Return the id that was given, or *default* where it is None or blank; raise ``GraphError`` if it is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return shortened(default)
    problem = name_problem(value)
    if problem:
        order = "; the id comes first: run.step('id', executor, input)" if callable(value) else ""
        raise GraphError(f"step id: {problem}{order}")
    return str(value)


def _keyed_id(base: str, suffix: str) -> str:
    made = shortened(base + suffix)
    if not suffix.isascii() or not suffix.isprintable():
        problem = name_problem(made)
        if problem:
            raise GraphError(f"step {base!r}: key {suffix[1:-1]!r} makes no id: {problem}")
    return made
