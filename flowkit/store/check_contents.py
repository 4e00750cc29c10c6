"""The invariants about bytes: every stored payload still has its checksum, every artifact is where its row says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol

from flowkit.errors import FlowkitError
from flowkit.store.check_rows import Problem
from flowkit.store.database import Row, Session

_PAGE = 16
"""How many bodies are in memory at once; each may have 8 MiB."""

_NAMED = """COALESCE((SELECT r.id || '/' || s.id FROM steps s JOIN runs r ON r.key = s.run WHERE s.key = step),
CAST(step AS TEXT))"""
_BODIES = {
    "input of run": "SELECT key, id, body, input_sha256 FROM runs JOIN run_inputs ON run = key WHERE key > ?",
    "input of step": f"SELECT step, {_NAMED}, input, sha256 FROM specs WHERE step > ?",
    "result of step": f"SELECT step, {_NAMED}, body, sha256 FROM results WHERE body IS NOT NULL AND step > ?",
    "record of step": f"SELECT key, {_NAMED}, body, sha256 FROM records WHERE key > ?",
}
_ARTIFACTS = """SELECT step, id, body, size, sha256 FROM artifacts
WHERE step > ? OR (step = ? AND id > ?) ORDER BY step, id LIMIT ?"""


class Opens(Protocol):
    """An artifact store, as far as checking needs it."""

    def open(self, id: str) -> AbstractContextManager[BinaryIO]:
        """Give a binary file of an artifact; raises where it is missing or was altered."""


def payloads(tx: Session) -> Iterator[Problem]:
    """Hash every stored input, result, record and inline artifact: I22."""
    for what, sql in _BODIES.items():
        after = -(1 << 62)
        while page := tx.script(f"{sql} ORDER BY 1 LIMIT {_PAGE}", (after,)):
            after = page[-1][0]
            yield from (("I22", (what, name)) for _, name, body, digest in page if not _matches(body, digest))
    for step, name, body, size, digest in _artifacts(tx):
        if body is not None and (len(body) != size or not _matches(body, digest)):
            yield "I22", ("artifact of step", step, name)


def files(tx: Session, store: Opens) -> Iterator[Problem]:
    """Read every artifact that lies outside the database: I20."""
    for step, name, body, size, digest in _artifacts(tx):
        if body is not None:
            continue
        try:
            with store.open(name) as file:
                found = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    found.update(chunk)
                length = file.tell()
        except FlowkitError as error:
            yield "I20", (step, name, str(error))
            continue
        if length != size or found.digest() != bytes(digest):
            yield "I20", (step, name, f"{length} bytes with SHA-256 {found.hexdigest()}")


def _artifacts(tx: Session) -> Iterator[Row]:
    step, name = -(1 << 62), ""
    while page := tx.script(_ARTIFACTS, (step, step, name, _PAGE)):
        yield from page
        step, name = page[-1][:2]


def _matches(body: Any, digest: Any) -> bool:
    try:
        return hashlib.sha256(body).digest() == bytes(digest)
    except TypeError:  # a text or a number where bytes belong
        return False
