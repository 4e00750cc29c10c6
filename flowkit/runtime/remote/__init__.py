"""Attempts that run outside this process: where, what they are told, and what they can ask."""
