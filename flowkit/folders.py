"""Folders of durable files: made so that they survive power loss, named by URLs, their errors told as store errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from flowkit.errors import ConfigError, StoreFull, StoreUnavailable


def require_nameable(field: str, path: str) -> None:
    """Refuse a path that no file system can hold.

    Raises:
        ConfigError: it has U+0000, or a surrogate that stands for no byte; the message names *field*.
    """
    try:
        named = os.fsencode(path)
    except UnicodeEncodeError:
        named = b"\0"
    if b"\0" in named:
        raise ConfigError(f"{field}: expected a path without U+0000 and lone surrogates, got {path!r}")


def folder(path: str | os.PathLike[str], *, owner: str) -> Path:
    """Return *path* made absolute, so that a later change of directory moves nothing.

    Raises:
        ConfigError: the path is blank, none at all, or none that can be; the message names *owner*.
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise ConfigError(f"{owner}: root: expected a path, got {path!r}")
    if not os.fspath(path).strip():
        raise ConfigError(f"{owner}: root: a path is required")
    require_nameable(f"{owner}: root", os.fspath(path))
    return Path(os.path.abspath(path))


def folder_from_url(url: str, *, owner: str) -> Path:
    """Return the folder that a ``file:///...`` URL names; the inverse of ``Path.as_uri``.

    Raises:
        ConfigError: it is no such URL; the message names *owner*.
    """
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path:
        raise ConfigError(f"{owner}: url: expected file:///path/to/folder, got {url!r}")
    path = os.fsdecode(unquote_to_bytes(parts.path))
    return folder(path.lstrip("/") if os.name == "nt" else path, owner=owner)


def make_folder(path: Path) -> None:
    """Make *path* and its parents where missing, each on disk before this returns."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Force the names in *path* to disk; a file's own fsync does not cover its name."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def store_errors(place: Path) -> Iterator[None]:
    """Raise what the file system refuses as ``StoreFull`` or ``StoreUnavailable``, keeping the cause."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no space is left at {place}: {error.strerror}; free some, then try again") from error
        reason = error.strerror or str(error)
        raise StoreUnavailable(f"cannot use {place}: {reason}; check that it is there and writable") from error
