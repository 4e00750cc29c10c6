"""Forked children: they inherit a Runtime, but none of its threads, workers and locks."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    """What a child has to make new before it is used there."""

    def after_fork(self) -> None:
        """Forget the threads, locks and workers that only the parent has; called in the child."""


_INHERITED: weakref.WeakSet[Inherited] = weakref.WeakSet()


def renew_after_fork(one: Inherited) -> None:
    """Have *one* renewed in every child that is forked while it lives."""
    _INHERITED.add(one)


def _renew_all() -> None:
    for one in list(_INHERITED):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
