"""What is said here is of PostgreSQL alone."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def database() -> str:
    """The one kind of database that these tests are about."""
    return "postgresql"
