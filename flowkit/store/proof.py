"""What proves that an attempt holds its step: the one condition under which anything may be done in its name."""

from __future__ import annotations

from typing import Any

from flowkit.store.dialect import Dialect


def is_held(dialect: Dialect, s: Any, b: Any) -> Any:
    """Return the condition that a step is leased as a row of *b* says.

    Args:
        s: the steps.
        b: the table of what is offered: columns ``epoch`` and ``token``, and which steps they are of.
    """
    mine = (s.status == "running") & (s.epoch == b.c.epoch) & (s.token == b.c.token)
    return b.is_named & dialect.checked(mine)
