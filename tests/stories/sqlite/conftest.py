"""What is about SQLite's file alone, and runs on nothing else."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def database() -> str:
    """The kind of database that these tests are about."""
    return "sqlite"
