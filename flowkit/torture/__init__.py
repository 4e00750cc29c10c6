"""Tortures the packages of a user in a scratch store: kills, pauses, wrong clocks, locks."""
