"""Where the bytes of stored artifacts lie: named by their SHA-256, written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import attrs

from flowkit.bodies import CHUNK_BYTES, Body, chunks
from flowkit.clock import Micros, micros
from flowkit.errors import DataCorrupted, ResultNotFound, StoreUnavailable
from flowkit.folders import folder, folder_from_url, make_folder, store_errors, sync_folder

try:
    import fcntl
except ImportError:  # no such locks on this platform: there gc must not run beside writers
    fcntl = None  # type: ignore[assignment]

PREFIX = "sha256-"
_ID = re.compile(PREFIX + r"[0-9a-f]{64}")
_SHELF = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{62}")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@attrs.frozen
class StoredBytes:
    """What the store says about bytes that it has taken.

    Attributes:
        id: ``sha256-<hex>``.
        sha256: hex digest of the bytes.
        size: in bytes.
    """

    id: str
    sha256: str
    size: int


@attrs.frozen
class Swept:
    """What a garbage collection removed: artifacts, files of writers that died, and the bytes of both."""

    artifacts: int = 0
    unfinished: int = 0
    size: int = 0


class ArtifactStore(Protocol):
    """Keeps the bytes of artifacts outside the workflow store; many threads and processes use it at once."""

    @property
    def url(self) -> str | None:
        """What ``open_artifact_store`` takes in another process; None if this store serves one process only."""

    def put(self, body: Body) -> StoredBytes:
        """Store *body*, streamed; once this returns the bytes are durable."""

    def open(self, id: str) -> AbstractContextManager[BinaryIO]:
        """Give a binary file of the bytes, which have been checked; raise ``ResultNotFound`` or ``DataCorrupted``."""

    def stat(self, id: str) -> int | None:
        """Return the size in bytes, or None if there is no such artifact."""

    def delete(self, id: str) -> bool:
        """Remove an artifact and say whether it was there."""

    def ids(self) -> Iterator[str]:
        """Iterate over the ids of everything stored, in no promised order."""

    def gc(self, keep: Container[str], *, older_than_seconds: float, now: Micros) -> Swept:
        """Remove what is not in *keep* and was last put more than *older_than_seconds* before *now*."""


def open_artifact_store(url: str) -> FileArtifactStore:
    """Open the store that another process's ``FileArtifactStore.url`` names."""
    return FileArtifactStore(folder_from_url(url, owner="open_artifact_store"))


class FileArtifactStore:
    """An artifact store in a folder.

    Bytes are written under a temporary name, fsynced and renamed, so a file is there whole or not at all; equal bytes
    share one file. The folder is made when it is first needed.

    Raises:
        ConfigError: the root is blank.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = folder(root, owner="FileArtifactStore")

    def __repr__(self) -> str:
        return f"FileArtifactStore({str(self.root)!r})"

    @property
    def url(self) -> str:
        """The ``file:///`` URL that ``open_artifact_store`` takes."""
        return self.root.as_uri()

    def put(self, body: Body) -> StoredBytes:
        """Store *body* and return what it is called; memory stays small whatever its size.

        Raises:
            InvalidInput: the body is nothing that can be stored, or gives text where bytes are due.
            OSError: the file at the given path cannot be read.
            StoreFull: no space is left.
            StoreUnavailable: the folder cannot be used.
        """
        pieces = chunks(body)
        temporary = self.root / "tmp" / os.urandom(16).hex()
        with store_errors(self.root):
            make_folder(temporary.parent)
        try:
            stored = self._write(temporary, pieces)
            self._shelve(temporary, stored.sha256)
        finally:
            with store_errors(self.root):
                temporary.unlink(missing_ok=True)
        return stored

    @contextmanager
    def open(self, id: str) -> Iterator[BinaryIO]:
        """Give a binary file of an artifact, whose bytes have been checked against its id.

        Raises:
            ResultNotFound: there is no such artifact.
            DataCorrupted: the bytes are not those that were put; nothing of them is handed out.
        """
        path = self._path(id)
        if path is None or self.stat(id) is None:
            raise ResultNotFound(f"no artifact {id!r} is stored in {self.root}; store_artifact gives the ids")
        with store_errors(self.root):
            file = os.fdopen(os.open(path, os.O_RDONLY | _NO_LINK), "rb")
        with file:
            self._check(file, id)
            yield file

    def stat(self, id: str) -> int | None:
        """Return the size in bytes of an artifact, or None if it is not there; the bytes are not checked."""
        path = self._path(id)
        if path is None:
            return None
        self._refuse_link(path.parent)
        with store_errors(self.root):
            try:
                found = path.lstat()
            except FileNotFoundError:
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def delete(self, id: str) -> bool:
        """Remove an artifact and say whether it was there; one that a run refers to is then lost."""
        path = self._path(id)
        if path is None or self.stat(id) is None:
            return False
        with store_errors(self.root):
            path.unlink(missing_ok=True)
        return True

    def ids(self) -> Iterator[str]:
        """Iterate over the ids of everything stored."""
        for shelf in self._entries(self.root):
            if _SHELF.fullmatch(shelf.name) and shelf.is_dir(follow_symlinks=False):
                for entry in self._entries(self.root / shelf.name):
                    if _REST.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield PREFIX + shelf.name + entry.name

    def gc(self, keep: Container[str], *, older_than_seconds: float, now: Micros) -> Swept:
        """Remove artifacts that nobody refers to, and what writers that died left behind.

        Args:
            keep: the ids that runs refer to, gathered before this call.
            older_than_seconds: the grace period; must be longer than any lease, for an attempt in flight may have
                stored bytes that it refers to only when it commits.
            now: the engine's time.
        """
        horizon = now - micros(older_than_seconds)
        artifacts = [self._sweep(path, horizon) for id in self.ids() if id not in keep and (path := self._path(id))]
        left = [self._sweep(self.root / "tmp" / entry.name, horizon) for entry in self._entries(self.root / "tmp")]
        gone = [size for size in artifacts if size is not None]
        unfinished = [size for size in left if size is not None]
        return Swept(len(gone), len(unfinished), sum(gone) + sum(unfinished))

    def _path(self, id: str) -> Path | None:
        return self._place(id[len(PREFIX) :]) if isinstance(id, str) and _ID.fullmatch(id) else None

    def _place(self, digest: str) -> Path:
        return self.root / digest[:2] / digest[2:]

    def _write(self, path: Path, pieces: Iterator[bytes | memoryview]) -> StoredBytes:
        digest = hashlib.sha256()
        size = 0
        with store_errors(self.root):
            file = path.open("xb")
        try:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                with store_errors(self.root):
                    file.write(piece)
            with store_errors(self.root):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with store_errors(self.root):
                file.close()
        return StoredBytes(PREFIX + digest.hexdigest(), digest.hexdigest(), size)

    def _shelve(self, temporary: Path, digest: str) -> None:
        # Renamed over a file that may be there already: the bytes are the same, a damaged one is healed, and its age
        # starts anew, so that gc leaves it alone until whoever put it has had the time to refer to it.
        place = self._place(digest)
        self._refuse_link(place.parent)
        with store_errors(self.root):
            make_folder(place.parent)
            with self._lock(exclusive=False):
                os.replace(temporary, place)
            sync_folder(place.parent)

    def _check(self, file: BinaryIO, id: str) -> None:
        digest = hashlib.sha256()
        with store_errors(self.root):
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
            size = file.tell()
            file.seek(0)
        if PREFIX + digest.hexdigest() != id:
            raise DataCorrupted(
                f"artifact {id!r} in {self.root} was altered: its {size} bytes have SHA-256 {digest.hexdigest()}; "
                "restore the file from a backup or put the same bytes again"
            )

    def _refuse_link(self, shelf: Path) -> None:
        with store_errors(self.root):
            if shelf.is_symlink():
                raise StoreUnavailable(f"{shelf} is a symbolic link, which would lead out of the store; remove it")

    def _entries(self, path: Path) -> Iterator[os.DirEntry[str]]:
        with store_errors(self.root):
            try:
                with os.scandir(path) as found:
                    entries = list(found)
            except FileNotFoundError:
                entries = []
        yield from entries

    def _sweep(self, path: Path, horizon: Micros) -> int | None:
        # The age is read under the lock, so a writer that puts the same bytes now is either seen or comes after.
        with store_errors(self.root), self._lock(exclusive=True):
            try:
                found = path.lstat()
                if found.st_mtime_ns // 1000 >= horizon:
                    return None
                path.unlink()
            except FileNotFoundError:
                return None
            return found.st_size

    @contextmanager
    def _lock(self, *, exclusive: bool) -> Iterator[None]:
        if fcntl is None:
            yield
            return
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)
