"""What an exception means for a step, and how it is described for the store, whatever it is."""

from __future__ import annotations

import enum
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkit.clock import SECOND
from flowkit.errors import Permanent, Retryable
from flowkit.model import gate
from flowkit.model.outcome import (
    TEXT_LIMIT,
    TRACEBACK_LIMIT,
    AttemptTimeout,
    Failed,
    Retried,
    WorkerLost,
    causes_of,
    decide,
    safe_text,
    step_error,
)
from flowkit.model.retry import Retry

NOW = 1_700_000_000 * SECOND


def decided(error, *, attempt=1, retry=None, draw=0.0):
    return decide(error, retry=retry or Retry(), attempt=attempt, now=NOW, draw=draw)


class Late(Retryable):
    """A user's own retryable error."""


class Final(Permanent):
    """A user's own permanent error."""


class Stop(BaseException):
    """What no ``except Exception`` catches."""


class Unspeakable(Exception):
    """Cannot be shown."""

    def __str__(self):
        raise Stop("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    "error", [Retryable("busy"), Late("late"), AttemptTimeout("60 s"), WorkerLost("gone"), OSError()]
)
def test_what_is_worth_another_try_is_retried_while_attempts_are_left(error):
    policy = Retry(max_attempts=2, on=(OSError,))
    assert isinstance(decided(error, attempt=1, retry=policy), Retried)
    spent = decided(error, attempt=2, retry=policy)
    assert isinstance(spent, Failed)
    assert spent.error.retryable


@pytest.mark.parametrize("error", [Permanent("no"), Final("no"), ValueError("bad"), KeyError("k")])
def test_anything_else_fails_at_once(error):
    outcome = decided(error)
    assert isinstance(outcome, Failed)
    assert not outcome.error.retryable


@pytest.mark.parametrize("error", [Permanent("no"), Final("no")])
def test_permanent_is_never_retried_even_where_its_type_is_listed(error):
    assert isinstance(decided(error, retry=Retry(on=(Exception,))), Failed)


def test_one_attempt_means_one_start_also_after_a_crash():
    assert isinstance(decided(WorkerLost("gone"), retry=Retry(max_attempts=1)), Failed)


def test_the_delay_is_the_policys_and_its_jitter_the_drawn_one():
    policy = Retry(max_attempts=5, initial=10, jitter=0.5)
    assert decided(Retryable("busy"), attempt=2, retry=policy).delay == 20 * SECOND
    assert decided(Retryable("busy"), attempt=2, retry=policy, draw=1.0).delay == 10 * SECOND


def test_retry_after_replaces_the_delay_and_may_exceed_the_maximum():
    assert decided(Retryable("busy", retry_after=3600)).delay == 3600 * SECOND
    assert decided(Retryable("busy", retry_after=timedelta(hours=1))).delay == 3600 * SECOND
    assert decided(Retryable("busy", retry_after=0)).delay == 0


def test_a_moment_that_has_passed_is_waited_for_no_longer():
    assert decided(Retryable("busy", retry_after=-0.02)).delay == 0
    assert decided(Retryable("busy", retry_after=timedelta(seconds=-1))).delay == 0


class Odd(Retryable):
    """What it asks for was set past every check, as a header of a response may be."""

    def __init__(self, wish):
        super().__init__("odd")
        self.retry_after = wish


class Unasked(Retryable):
    """Answers no question."""

    def __init__(self):
        Exception.__init__(self)

    def __getattribute__(self, name):
        raise Stop(name)


@pytest.mark.parametrize("wish", ["1", [1], float("nan"), float("inf"), 1e300, b"", object], ids=repr)
def test_a_wish_from_which_no_delay_can_be_told_gives_that_of_the_policy(wish):
    outcome = decided(Odd(wish), retry=Retry(initial=7))
    assert isinstance(outcome, Retried)
    assert outcome.delay == 7 * SECOND


if sys.version_info >= (3, 11):  # before, Python has no groups of exceptions

    class TestGroups:
        """What ``asyncio.TaskGroup`` raises, around one exception or several."""

        @staticmethod
        def group(*causes: Exception) -> Exception:
            made: Exception = ExceptionGroup("unhandled errors in a TaskGroup", causes)  # noqa: F821
            return made

        def test_a_group_is_told_as_the_first_exception_in_it(self):
            alone = self.group(Permanent("empty", "nothing there", details={"page": 3}))
            told = step_error(alone, NOW)
            assert (told.code, told.message, told.details) == ("empty", "nothing there", {"page": 3})
            assert "ExceptionGroup" in told.traceback
            several = step_error(self.group(self.group(ValueError("bad"), Permanent("no")), KeyError("k")), NOW)
            assert (several.code, several.message) == ("executor_error", "ValueError: bad (and 2 more)")

        def test_a_group_is_worth_another_try_if_all_that_is_in_it_is(self):
            policy = Retry(initial=7, on=(OSError,))
            assert decided(self.group(Retryable("busy"), OSError()), retry=policy).delay == 7 * SECOND
            wishing = self.group(Retryable("a", retry_after=3), Retryable("b", retry_after=9), OSError())
            assert decided(wishing, retry=policy).delay == 9 * SECOND
            for other in (Permanent("no"), ValueError("bad")):
                outcome = decided(self.group(Retryable("busy"), other), retry=policy)
                assert isinstance(outcome, Failed)
                assert not outcome.error.retryable

        @pytest.mark.parametrize("inside", [(), 5, Stop("no"), [Stop("no")]], ids=repr)
        def test_what_is_in_a_group_is_not_asked_of_a_class_of_the_users_own(self, inside):
            class Own(ExceptionGroup):  # noqa: F821
                @property
                def exceptions(self):
                    if isinstance(inside, BaseException):
                        raise inside
                    return inside

            outcome = decided(Own("mine", [Retryable("busy"), ValueError("bad")]))
            assert isinstance(outcome, Failed)
            assert (outcome.error.code, outcome.error.message) == ("busy", "busy (and 1 more)")

        def test_groups_in_groups_are_looked_through_once_however_deep_or_often(self):
            bad = deep = wide = ValueError("bad")
            for _ in range(3000):
                deep = self.group(deep)
            for _ in range(60):
                wide = self.group(wide, wide)
            assert causes_of(deep) == causes_of(wide) == [bad]

        def test_the_message_of_a_group_is_as_short_as_any(self):
            told = step_error(self.group(ValueError("x" * 2 * TEXT_LIMIT), ValueError("bad")), NOW)
            assert len(told.message.encode()) <= TEXT_LIMIT
            assert told.message.endswith("... [truncated] (and 1 more)")


def test_an_exception_that_answers_no_question_is_judged_by_its_type():
    outcome = decided(Unasked(), retry=Retry(initial=7))
    assert isinstance(outcome, Retried)
    assert (outcome.delay, outcome.error.code) == (7 * SECOND, "executor_error")


def test_a_wish_that_was_set_later_is_heard():
    assert decided(Odd(timedelta(seconds=3))).delay == 3 * SECOND
    assert decided(Odd(-3)).delay == 0


class Code(str, enum.Enum):
    """Codes of a program's own."""

    NO_MONEY = "no_money"


def test_an_enum_of_str_is_its_value():
    told = step_error(Permanent(Code.NO_MONEY, Code.NO_MONEY), NOW)
    assert (told.code, told.message) == ("no_money", "no_money")
    assert type(Permanent(Code.NO_MONEY).code) is str


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Permanent("empty", None), "empty", "empty"),
        (Permanent("empty", "nothing there"), "empty", "nothing there"),
        (Permanent("empty"), "empty", "empty"),
        (Retryable("busy", ValueError("full")), "busy", "full"),
        (AttemptTimeout("longer than 5 s"), "timeout", "longer than 5 s"),
        (WorkerLost("killed"), "worker_lost", "killed"),
        (ValueError("bad"), "executor_error", "ValueError: bad"),
        (ValueError(), "executor_error", "ValueError"),
        (KeyError("k"), "executor_error", "KeyError: 'k'"),
    ],
)
def test_an_error_is_described_by_code_and_message(error, code, message):
    told = step_error(error, NOW)
    assert (told.code, told.message, told.occurred_at) == (code, message, NOW)


def test_details_are_kept_and_the_traceback_shows_the_cause():
    try:
        try:
            raise ValueError("root")
        except ValueError as error:
            raise Permanent("wrapped", error, details={"page": 3}) from error
    except Permanent as error:
        told = step_error(error, NOW)
    assert told.details == {"page": 3}
    assert "ValueError: root" in told.traceback
    assert "Permanent" in told.traceback


def test_an_error_that_cannot_be_shown_is_recorded_all_the_same():
    told = step_error(Unspeakable(), NOW)
    assert told.code == "executor_error"
    assert told.message == "<Unspeakable: its text cannot be shown>"


def test_a_failure_whose_fields_were_broken_is_recorded_all_the_same():
    error = Permanent("code", "text")
    error.code, error.message, error.details = Unspeakable(), Unspeakable(), Unspeakable()
    told = step_error(error, NOW)
    assert told.code == "executor_error"
    assert "cannot be shown" in told.message
    gate.check(told.details, "details")


def test_details_of_any_kind_never_stop_an_error_from_being_recorded():
    class Hostile(dict):
        def keys(self):
            raise Stop("keys")

        __iter__ = keys

    error = Permanent("code")
    error.details = Hostile(a=1)
    assert step_error(error, NOW).code == "code"


@pytest.mark.parametrize(
    "value", [float("nan"), {1, 2}, "\ud800", 2**70, Unspeakable(), {"deep": (1,)}], ids=lambda _: None
)
def test_details_that_are_no_json_are_recorded_as_something_that_is(value):
    told = step_error(Permanent("code", details={"what": value, "page": 3}), NOW)
    gate.check(told.details, "details")


@given(st.text(), st.integers(40, 200))
def test_stored_text_is_utf_8_without_nul_and_within_its_limit(text, limit):
    stored = safe_text(lambda: text, limit=limit, fallback="")
    assert "\0" not in stored
    assert len(stored.encode()) <= limit


def test_long_texts_are_cut_and_say_so():
    error = ValueError("ä" * TEXT_LIMIT)
    told = step_error(error, NOW)
    assert len(told.message.encode()) <= TEXT_LIMIT
    assert told.message.endswith("... [truncated]")
    assert len(told.traceback.encode()) <= TRACEBACK_LIMIT


def test_a_failure_reached_by_endless_recursion_is_recorded():
    def forever():
        forever()

    try:
        forever()
    except RecursionError as error:
        told = step_error(error, NOW)
    assert told.message.startswith("RecursionError: maximum recursion depth exceeded")
    assert told.traceback


def test_details_that_are_too_large_are_cut_and_say_so():
    told = step_error(Permanent("code", details={"page": 3, "body": "x" * 5_000_000}), NOW)
    assert list(told.details) == ["truncated"]
    assert told.details["truncated"].startswith("{'page': 3")
    assert len(gate.dumps(told.details, "details", gate.METADATA_LIMIT)) < 16 * 1024
