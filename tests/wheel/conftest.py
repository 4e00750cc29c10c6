"""The wheel as a user has it: built from a clean copy, installed in an empty environment, run outside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.wheel.environment import SECONDS, Environment, Workshop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests the time that a build and an installation take on a busy machine."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(2 * SECONDS))


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """What makes the wheel and environments with it; shared by the workers of a parallel session."""
    base = tmp_path_factory.getbasetemp()
    return Workshop((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "workshop")


@pytest.fixture(scope="session")
def core(workshop: Workshop) -> Environment:
    """An environment with the wheel and its core dependencies alone."""
    return workshop.environment("core")


@pytest.fixture(scope="session")
def with_pytest(workshop: Workshop) -> Environment:
    """An environment with the wheel and pytest, as in a user's own project."""
    return workshop.environment("pytest", others=("pytest>=8", "pytest-xdist", "pytest-asyncio"))
