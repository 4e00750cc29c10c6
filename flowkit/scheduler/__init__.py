"""Decides what happens next: holds no threads and runs no user code."""
