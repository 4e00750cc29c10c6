"""Typed values to JSON and back, strictly: what comes out equals what went in, or it is refused where it went in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cattrs

from flowkit.errors import InvalidInput
from flowkit.model import gate
from flowkit.model.codec_compiler import Compiler
from flowkit.model.codec_hooks import Hooks
from flowkit.model.codec_problems import Unfit, described, key_step, problems_of, refusal
from flowkit.model.schema import Document


class Codec:
    """Converts values by their annotations; ``ANY`` and ``typing.Any`` are plain JSON.

    Args:
        converter: a cattrs converter whose hooks go before the built-in ones; it is copied.
    """

    def __init__(self, converter: cattrs.Converter | None = None) -> None:
        self._strict = Compiler(converter, takes_instances=False)
        self._open = Compiler(converter, takes_instances=True)

    def encode(self, value: Any, annotation: Any, where: str = "input", limit: int = gate.INPUT_LIMIT) -> bytes:
        """Return *value* as JSON text.

        Args:
            where: what the value is, for messages.
            limit: the largest size, in bytes.

        Raises:
            InvalidInput: it is no value of *annotation*, or no exact JSON, or too large; every path is named.
        """
        return _encoded(self._strict.find(annotation), value, where, limit)

    def decode(self, body: bytes, annotation: Any, where: str = "input") -> Any:
        """Return the value that JSON text stands for.

        Raises:
            InvalidInput: it does not fit *annotation* exactly; every path is named.
        """
        return self.decoder(annotation, where)(body)

    def structure(self, value: Any, annotation: Any, where: str = "input") -> Any:
        """Return *value* as an instance of *annotation*; see ``accept``."""
        return self.accept(value, annotation, where, gate.RESULT_LIMIT)[0]

    def accept(
        self, value: Any, annotation: Any, where: str = "input", limit: int = gate.INPUT_LIMIT
    ) -> tuple[Any, bytes]:
        """Return *value* as an instance of *annotation*, and as JSON text.

        Args:
            value: an instance already, or plain JSON, or partly each.

        Raises:
            InvalidInput: it does not fit *annotation* exactly, or is too large; every path is named.
        """
        structure = self._open.find(annotation).structure
        try:
            made = structure(value, None)
        except Exception as error:
            raise refusal(where, problems_of(error)) from _cause(error)
        return made, _encoded(self._strict.find(annotation), made, where, limit)

    def encoder(self, annotation: Any, where: str, limit: int) -> Callable[[Any], bytes]:
        """Return ``encode`` for one annotation."""
        hooks = self._strict.find(annotation)
        return lambda value: _encoded(hooks, value, where, limit)

    def decoder(self, annotation: Any, where: str) -> Callable[[bytes], Any]:
        """Return ``decode`` for one annotation."""
        structure = self._strict.find(annotation).structure

        def decode(body: bytes) -> Any:
            try:
                value = gate.loads(body)
            except (ValueError, RecursionError) as error:
                raise InvalidInput(f"{where}: not JSON: {described(error)}") from None
            try:
                return structure(value, None)
            except Exception as error:
                raise refusal(where, problems_of(error)) from _cause(error)

        return decode

    def check(self, annotation: Any) -> None:
        """Refuse an annotation whose values could not be stored.

        Raises:
            TypeError: the message says which part of it and why.
        """
        self._strict.find(annotation)

    def schema(self, annotation: Any) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of an annotation; ``{}`` where nothing is known."""
        try:
            self._strict.find(annotation)
        except TypeError:
            return {}
        return Document(self._strict.is_own, self._default).of(annotation)

    def _default(self, value: Any, annotation: Any) -> Any:
        return gate.loads(self.encode(value, annotation))


def _encoded(hooks: Hooks, value: Any, where: str, limit: int) -> bytes:
    """Return JSON text that was read back already: what does not fit, or would come back changed, is refused."""
    try:
        plain = hooks.unstructure(value)
        again = hooks.structure(plain, None)
    except Exception as error:
        raise refusal(where, problems_of(error)) from _cause(error)
    body = gate.dumps(plain, where, limit)
    try:
        remade = hooks.unstructure(again)
    except Exception as error:
        raise refusal(where, problems_of(error)) from _cause(error)
    if remade != plain:
        text = "would come back changed by its own class or hooks"
        raise refusal(where, [(path, text) for path in _changed(plain, remade)])
    return body


def _cause(error: Exception) -> Exception | None:
    """Return what a refusal shows below itself: nothing where it says all that the error does."""
    return None if isinstance(error, Unfit) else error


def _changed(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Find the paths at which two JSON values differ."""
    if type(one) is dict and type(other) is dict and one.keys() == other.keys():
        pairs = [(key_step(key), one[key], other[key]) for key in one]
    elif type(one) is list and type(other) is list and len(one) == len(other):
        pairs = [(f"[{at}]", *both) for at, both in enumerate(zip(one, other))]
    else:
        pairs = []
        yield path
    for step, before, after in pairs:
        if before != after:
            yield from _changed(before, after, path + step)
