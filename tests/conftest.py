"""Gives every test flowkit's own fixtures, whether the package is installed or only checked out."""

from __future__ import annotations

from importlib.metadata import entry_points

PLUGIN = "flowkit.testing.plugin"

# An installed flowkit has told pytest of its plugin already, and a plugin cannot be there twice.
pytest_plugins = [] if any(one.value == PLUGIN for one in entry_points(group="pytest11")) else [PLUGIN]
