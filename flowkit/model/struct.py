"""Values that are made for each step: as ``attrs.frozen`` makes them, but that only a type checker keeps them frozen.

A class that is frozen at run time sets each attribute through ``object.__setattr__`` when it is made: measured, 1.7 us
for eight attributes where 0.5 us do. What users get in their hands is frozen in earnest; these they never see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

__all__ = ["struct"]

if TYPE_CHECKING:
    from attrs import frozen as struct
else:

    def struct(cls: Any = None, *, eq: bool = True) -> Any:
        """Make a class of values, which compare and hash by their attributes unless *eq* is False."""
        make = attrs.define(eq=eq, unsafe_hash=eq or None)
        return make if cls is None else make(cls)
