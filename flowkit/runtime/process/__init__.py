"""Processes of flowkit's own that run one task at a time and can be killed in the midst of it."""
