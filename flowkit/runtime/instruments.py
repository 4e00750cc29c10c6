"""Instruments: observers that are entered around starts and attempts too, such as tracing; others cost nothing here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import attrs

from flowkit.model.events import Event
from flowkit.model.outcome import Outcome
from flowkit.model.step import LeasedStep, Settlement
from flowkit.runtime.attempts import Attempt, StopReason
from flowkit.runtime.pools import Pool, RemoteRun
from flowkit.runtime.starting import Started, Wish

TellEnd = Callable[[Outcome, "StopReason | None"], None]
"""Takes how an attempt ended, and why it was told to stop, if it was."""

TellStart = Callable[[str, bool], None]
"""Takes the id of the run that was started, and whether it is new."""

Origin = Mapping[str, str]
"""Where a run comes from, as text that is stored with it: a W3C trace context."""


class Instrument:
    """An observer that a Runtime also lets in around what it does; override what is needed.

    What goes wrong in it is logged and hurts nothing.

    Attributes:
        listens: whether it wants the events of every step; else it gets those that are told in any case, failures and
            ends, and a Runtime that nobody else listens to makes no others.
    """

    listens = True

    @property
    def is_on(self) -> bool:
        """Whether it wants to be let in now; asked before every start and attempt."""
        return True

    def __call__(self, event: Event) -> None:
        """Take an event, after its commit."""

    def opened(self, runtime: Any) -> None:
        """Take a Runtime that has this among its observers."""

    def closed(self, runtime: Any) -> None:
        """Take leave of a Runtime that is being closed."""

    def around_start(self, package: str, *, alone: bool) -> AbstractContextManager[tuple[Origin, TellStart]]:
        """Be entered around the start of a run; gives what to store with it, and what takes how it went.

        Args:
            alone: it is the only run of this call, so that what its entrypoint does belongs to it.
        """
        raise NotImplementedError

    def around_attempt(self, step: LeasedStep, *, here: bool) -> AbstractContextManager[TellEnd]:
        """Be entered around an attempt; gives what takes how it ended.

        Args:
            here: the executor is called in the context that enters; else in another process, and it may be left in
                another thread.
        """
        raise NotImplementedError

    def carried(self, step: LeasedStep) -> Origin:
        """Return the trace context that goes with an attempt to another process."""
        raise NotImplementedError

    def log_fields(self, event: Event | None) -> Mapping[str, str]:
        """Return what to add to the log line of an event; without one, to the lines of the executor that runs here."""
        raise NotImplementedError


class Instruments:
    """The instruments among the observers of one Runtime, by what they override."""

    def __init__(self, observers: Iterable[Any], failed: Callable[[str], None]) -> None:
        self._all = [one for one in observers if isinstance(one, Instrument)]
        self._around_start = self._overriding("around_start")
        self._around_attempt = self._overriding("around_attempt")
        self._log_fields = self._overriding("log_fields")
        self._carried = self._overriding("carried")
        self._failed = failed

    @property
    def around_attempts(self) -> bool:
        """Whether any of them may ever want to be entered around attempts."""
        return bool(self._around_attempt)

    @property
    def attempts(self) -> bool:
        """Whether one wants to be entered around attempts now."""
        return any(one.is_on for one in self._around_attempt)

    @property
    def starts(self) -> bool:
        """Whether one wants to be entered around starts now."""
        return any(one.is_on for one in self._around_start)

    def _overriding(self, name: str) -> list[Instrument]:
        return [one for one in self._all if getattr(type(one), name) is not getattr(Instrument, name)]

    def opened(self, runtime: Any) -> None:
        """Tell them of their Runtime.

        Raises:
            ConfigError: one of them cannot serve it.
        """
        for one in self._all:
            one.opened(runtime)

    def closed(self, runtime: Any) -> None:
        """Tell them that their Runtime closes."""
        for one in self._all:
            self._safely(one.closed, None, runtime)

    def start(self, wishes: Sequence[Wish], start: Callable[[Sequence[Wish]], list[Started]]) -> list[Started]:
        """Start runs with the instruments around it, each stored with where it comes from."""
        alone = len(wishes) == 1
        with ExitStack() as stack:
            told: list[list[TellStart]] = []
            placed: list[Wish] = []
            for wish in wishes:
                name = wish.definition.name
                entered = [self._enter(stack, one.around_start, name, alone=alone) for one in self._around_start]
                found = [pair for pair in entered if pair is not None]
                placed.append(attrs.evolve(wish, origin={k: v for origin, _ in found for k, v in origin.items()}))
                told.append([tell for _, tell in found])
            started = start(placed)
            for run, tellers in zip(started, told):
                for tell in tellers:
                    self._safely(tell, None, run.id, run.created)
        return started

    @contextmanager
    def around_attempt(self, step: LeasedStep, *, here: bool = True) -> Iterator[TellEnd]:
        """Be within an attempt; gives what takes how it ended."""
        with ExitStack() as stack:
            told = [self._enter(stack, one.around_attempt, step, here=here) for one in self._around_attempt]

            def tell(outcome: Outcome, reason: StopReason | None) -> None:
                for one in told:
                    if one is not None:
                        self._safely(one, None, outcome, reason)

            yield tell

    def carried(self, step: LeasedStep) -> dict[str, str]:
        """Return what goes with an attempt to another process."""
        carried: dict[str, str] = {}
        for one in self._carried:
            carried.update(self._safely(one.carried, {}, step))
        return carried

    def log_fields(self, event: Event | None = None) -> dict[str, str]:
        """Return what the instruments add to a log line."""
        fields: dict[str, str] = {}
        for one in self._log_fields:
            fields.update(self._safely(one.log_fields, {}, event))
        return fields

    def _enter(self, stack: ExitStack, make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            context = make(*arguments, **options)
            entered = context.__enter__()
        except Exception:
            self._failed("instrument_failed")
            return None
        stack.push(partial(self._leave, context))
        return entered

    def _leave(self, context: AbstractContextManager[Any], *error: Any) -> bool:
        self._safely(context.__exit__, None, *error)
        return False

    def _safely(self, call: Callable[..., Any], otherwise: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception:
            self._failed("instrument_failed")
            return otherwise


class Elsewhere:
    """Stands between a crew and a pool whose attempts run in other processes, to let instruments in around them."""

    def __init__(self, run: RemoteRun, instruments: Instruments) -> None:
        self._run = run
        self._instruments = instruments
        self._entered: dict[int, tuple[ExitStack, TellEnd]] = {}

    def pool(self, pool: Pool) -> Pool:
        """Return the pool, its attempts entered when they are given to it."""
        return _Entering(pool, self)

    def enter(self, attempt: Attempt) -> None:
        """Let the instruments in."""
        stack = ExitStack()
        self._entered[id(attempt)] = stack, stack.enter_context(
            self._instruments.around_attempt(attempt.leased, here=False)
        )
        attempt.trace = self._instruments.carried(attempt.leased)

    def begin(self, attempt: Attempt) -> None:
        """The attempt's executor is called now."""
        self._run.begin(attempt)

    def finish(self, attempt: Attempt, settled: Settlement) -> None:
        """The attempt ended."""
        entered = self._entered.pop(id(attempt), None)
        if entered is not None:
            stack, tell = entered
            with stack:
                tell(settled.outcome, attempt.stop_reason)
        self._run.finish(attempt, settled)


class _Entering:
    def __init__(self, pool: Pool, elsewhere: Elsewhere) -> None:
        self._pool = pool
        self._elsewhere = elsewhere

    def start(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self._elsewhere.enter(attempt)
        self._pool.start(attempts)

    def close(self) -> None:
        self._pool.close()
