"""What may be the body of an artifact, and how it is read: piece by piece, so that memory stays small."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol, Union

from flowkit.errors import InvalidInput

CHUNK_BYTES = 1024 * 1024


class Readable(Protocol):
    """A binary file, or anything that is read like one."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes; none at the end."""


Body = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]", Readable]
"""What can be stored: bytes, text (as UTF-8; never taken for a path), the file at a ``Path``, or a binary file."""


def chunks(body: Body) -> Iterator[bytes | memoryview]:
    """Iterate over the bytes of *body* in pieces.

    Raises:
        InvalidInput: it is nothing that can be stored (at once), or gives text where bytes are due (while iterating).
    """
    if isinstance(body, str):
        try:
            body = body.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"artifact body: the text cannot be written as UTF-8: {error.reason}") from error
    if isinstance(body, (bytes, bytearray, memoryview)):
        return iter((memoryview(body).cast("B"),))
    if isinstance(body, os.PathLike):
        return _read_path(body)
    if callable(getattr(body, "read", None)):
        return _read(body)
    raise InvalidInput(f"artifact body: expected bytes, str, a Path or a binary file, got {type(body).__name__}")


def _read_path(path: os.PathLike[str]) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from _read(file)


def _read(file: Readable) -> Iterator[bytes]:
    while True:
        chunk = file.read(CHUNK_BYTES)
        # Checked before it is taken for the end: a file that would block gives None, a text file "".
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise InvalidInput(f"artifact body: expected a file opened in binary mode, it gave {type(chunk).__name__}")
        if not chunk:
            return
        yield chunk
