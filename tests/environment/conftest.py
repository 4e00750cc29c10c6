"""Stores in a world that is not as it should be: each test opens its own, on a file and by the host's clock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flowkit import Runtime, SQLiteStore
from tests.environment import flows

Open = Callable[..., Runtime]
NOBODY = 65534


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open a Runtime on a file; it is closed at the end."""
    with ExitStack() as stack:

        def open_one(path: Path, **options: Any) -> Runtime:
            store = SQLiteStore(path, durability="process")
            settings = {"modules": [flows.__name__], "entry_points": False, "lease_duration": 5, **options}
            return stack.enter_context(Runtime(store, **settings))

        yield open_one


def as_nobody(call: Callable[[], str]) -> str:
    """Call something in a forked process that has no rights beyond a file's own; returns what it says."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            text = call()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text
