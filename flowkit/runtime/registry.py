"""Which executors and packages a Runtime knows, each with its values' codecs compiled once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from flowkit.dsl.agreement import element_of, length_of
from flowkit.dsl.decorators import definitions_of
from flowkit.dsl.kinds import RemoteKind
from flowkit.errors import ConfigError, DuplicateExecutor, DuplicatePackage, ExecutorSignatureError, InvalidInput
from flowkit.model.codec import Codec
from flowkit.model.definitions import ExecutorDef, PackageDef, Signature
from flowkit.model.gate import RESULT_LIMIT
from flowkit.model.plan import Binding

Decoder = Callable[[bytes], Any]


@attrs.frozen
class Executable:
    """An executor ready to be called: what to decode for it, and how to encode what it returns."""

    definition: ExecutorDef
    signature: Signature
    decode_input: Decoder
    encode_result: Callable[[Any], bytes]
    _codec: Codec = attrs.field(repr=False)
    _decoders: dict[tuple[str, bool, int | None], Decoder] = attrs.field(factory=dict, repr=False)

    def decode_result(self, binding: Binding, body: bytes | None, place: int = 0) -> Any:
        """Decode one upstream result for the parameter it is bound to.

        Args:
            body: what is stored; None for a step that has no result, which gives None.
            place: where it stands among the results that are bound to this parameter.

        Raises:
            InvalidInput: it does not fit the annotation.
        """
        known, name, many = self._decoders, binding.name, binding.many
        # One serves all of a list, unless a tuple says of each what it is.
        decoder = known.get((name, many, None)) or known.get((name, many, place)) or self._decoder(binding, place)
        try:
            return decoder(body if body is not None else b"null")
        except InvalidInput as error:
            # One decoder serves a whole list, and knows of no place in it.
            text = str(error).replace(f"{name!r} ", f"{name!r}[{place}] ", 1) if many else str(error)
            if body is None:
                text += "; that step has no result: let the parameter be X | None"
            raise InvalidInput(text) from error.__cause__

    def _decoder(self, binding: Binding, place: int) -> Decoder:
        annotation = self.signature.results[binding.name].annotation
        of = place if binding.many and length_of(annotation) is not None else None
        wanted = element_of(annotation, of) if binding.many else annotation
        decoder = self._codec.decoder(wanted, f"result bound to {binding.name!r}")
        self._decoders[binding.name, binding.many, of] = decoder
        return decoder


def executable(definition: ExecutorDef, codec: Codec) -> Executable:
    """Make a definition callable.

    Raises:
        ExecutorSignatureError: an annotation cannot be resolved, or its values cannot be stored.
    """
    signature = definition.signature()
    annotations = {"input": signature.input_type, "result": signature.returns}
    annotations |= {name: parameter.annotation for name, parameter in signature.results.items()}
    for name, annotation in annotations.items():
        try:
            codec.check(annotation)
        except TypeError as error:
            raise ExecutorSignatureError(
                f"{definition.place}: executor {definition.kind!r}: {name}: {error}"
            ) from error
    decode = codec.decoder(signature.input_type, "input")
    encode = codec.encoder(signature.returns, "result", RESULT_LIMIT)
    return Executable(definition, signature, decode, encode, codec)


class RemoteKinds(Protocol):
    """What other workers recorded about the kinds that they serve."""

    def find(self, kind: str) -> RemoteKind | None:
        """Return what was recorded of a kind."""

    def names(self) -> Iterable[str]:
        """Return all that were recorded."""


class Registry:
    """The executors and packages of one Runtime, by kind and by name."""

    def __init__(self, codec: Codec, remote: RemoteKinds | None = None) -> None:
        self.codec = codec
        self._remote = remote
        self._executors: dict[str, Executable] = {}
        self._packages: dict[str, PackageDef] = {}
        self._kinds: frozenset[str] = frozenset()

    @property
    def executors(self) -> Mapping[str, ExecutorDef]:
        """The registered executors, by kind."""
        return MappingProxyType({kind: known.definition for kind, known in self._executors.items()})

    @property
    def packages(self) -> Mapping[str, PackageDef]:
        """The registered packages, by name."""
        return MappingProxyType(self._packages)

    def add(self, function: Any, check: Callable[[ExecutorDef], None] | None = None) -> None:
        """Register what a function, or a definition made by hand, declares.

        Args:
            check: raises where an executor could not be run; then nothing of the function is registered.

        Raises:
            ConfigError: it is not marked.
            DuplicateExecutor, DuplicatePackage: another function has the kind or name.
        """
        made = isinstance(function, (ExecutorDef, PackageDef))
        definitions = (function,) if made else definitions_of(function)
        if not definitions:
            raise ConfigError(f"cannot register {function!r}: decorate it with @executor(kind) or @package(name)")
        for definition in definitions:
            if check is not None and isinstance(definition, ExecutorDef):
                check(definition)
        for definition in definitions:
            if isinstance(definition, ExecutorDef):
                self._add_executor(definition)
            else:
                self._add_package(definition)

    def _add_executor(self, definition: ExecutorDef) -> None:
        before = self._executors.get(definition.kind)
        if before is not None and not _same(before.definition.function, definition.function):
            raise DuplicateExecutor(definition.kind, before.definition.place, definition.place)
        self._executors[definition.kind] = executable(definition, self.codec)
        self._kinds = frozenset(self._executors)

    def replace(self, definition: ExecutorDef) -> None:
        """Let another function run its kind from now on; tests put one there that only answers."""
        self._executors[definition.kind] = executable(definition, self.codec)

    def check_result(self, definition: ExecutorDef, value: Any) -> None:
        """Refuse what a function could not return.

        Raises:
            InvalidInput: it does not fit the annotation, or is no JSON.
        """
        executable(definition, self.codec).encode_result(value)

    def _add_package(self, definition: PackageDef) -> None:
        before = self._packages.get(definition.name)
        if before is not None and not _same(before.entrypoint, definition.entrypoint):
            raise DuplicatePackage(definition.name, before.place, definition.place)
        definition.signature()
        self._packages[definition.name] = definition

    def kinds(self) -> frozenset[str]:
        """Return the kinds that are served here."""
        return self._kinds

    def executable(self, kind: str) -> Executable | None:
        """Return the executor of a kind, ready to be called."""
        return self._executors.get(kind)

    def find_executor(self, kind: str) -> ExecutorDef | None:
        """Return the executor of a kind that is registered here."""
        known = self._executors.get(kind)
        return known.definition if known else None

    def find_remote(self, kind: str) -> RemoteKind | None:
        """Return what another worker recorded about a kind."""
        return self._remote.find(kind) if self._remote else None

    def known_kinds(self) -> Iterable[str]:
        """Return the kinds that are registered here, or that some worker recorded."""
        return {*self._executors, *(self._remote.names() if self._remote else ())}


def _same(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    # A module that is reloaded makes new function objects of the same code.
    return first is second or (first.__module__, first.__qualname__) == (second.__module__, second.__qualname__)
