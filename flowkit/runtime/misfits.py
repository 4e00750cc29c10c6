"""Values that do not fit what a step context takes or gives, with the code that they fail the attempt with."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flowkit.errors import InvalidInput

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Misfit(InvalidInput):
    """What an executor meets as ``InvalidInput``; where it lets that pass, the attempt fails with this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def coded(code: str, call: Callable[Given, Made]) -> Callable[Given, Made]:
    """Return *call* so that what does not fit fails the attempt with *code*."""

    def checked(*arguments: Given.args, **named: Given.kwargs) -> Made:
        try:
            return call(*arguments, **named)
        except InvalidInput as error:
            raise Misfit(code, str(error)) from error.__cause__

    return checked
