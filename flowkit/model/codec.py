"""Typed values to JSON and back, strictly: what comes out equals what went in, or it is refused where it went in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cattrs

from flowkit.errors import InvalidInput
from flowkit.model import gate
from flowkit.model.codec_compiler import Compiler
from flowkit.model.codec_problems import Unfit, described, problems_of, refusal
from flowkit.model.schema import document


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
        return self.encoder(annotation, where, limit)(value)

    def decode(self, body: bytes, annotation: Any, where: str = "input") -> Any:
        """Return the value that JSON text stands for.

        Raises:
            InvalidInput: it does not fit *annotation* exactly; every path is named.
        """
        return self.decoder(annotation, where)(body)

    def structure(self, value: Any, annotation: Any, where: str = "input") -> Any:
        """Return *value* as an instance of *annotation*, whether it is one already, or plain JSON, or partly each.

        Raises:
            InvalidInput: it does not fit *annotation* exactly; every path is named.
        """
        made = _convert(self._open.find(annotation).decode, value, where)
        gate.check(_convert(self._strict.find(annotation).encode, made, where), where)
        return made

    def encoder(self, annotation: Any, where: str, limit: int) -> Callable[[Any], bytes]:
        """Return ``encode`` for one annotation."""
        convert = self._strict.find(annotation).encode
        return lambda value: gate.dumps(_convert(convert, value, where), where, limit)

    def decoder(self, annotation: Any, where: str) -> Callable[[bytes], Any]:
        """Return ``decode`` for one annotation."""
        convert = self._strict.find(annotation).decode
        return lambda body: _convert(convert, _read(body, where), where)

    def check(self, annotation: Any) -> None:
        """Refuse an annotation whose values could not be stored.

        Raises:
            TypeError: the message says which part of it and why.
        """
        self._strict.find(annotation)

    def schema(self, annotation: Any) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of an annotation; ``{}`` where nothing is known."""
        try:
            return document(self._strict.find(annotation))
        except TypeError:
            return {}


def _convert(convert: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return convert(value)
    except Exception as error:
        raise refusal(where, problems_of(error)) from (None if isinstance(error, Unfit) else error)


def _read(body: bytes, where: str) -> Any:
    try:
        return gate.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: not JSON: {described(error)}") from None
