"""Errors are ordinary exceptions: they cross processes, are copied, and take what others say of them."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys

import pytest

import flowkit
from flowkit import errors

ERRORS = [
    errors.FlowkitError("what happened"),
    errors.ConfigError("max_workers: expected an int of at least 1, got 0"),
    errors.DiscoveryError("app.steps", "No module named 'numpy'"),
    errors.ExecutorSignatureError("app.py:3: *args is refused"),
    errors.DuplicateExecutor("page/ocr", "a.py:1", "b.py:1"),
    errors.DuplicatePackage("book", "a.py:1", "b.py:1"),
    errors.PackageNotRegistered("bok", ("book",)),
    errors.ExecutorNotRegistered("page/orc", ("page/ocr",)),
    errors.GraphError("duplicate step id 'root'"),
    errors.InvalidInput("input $.pages: expected int, got str"),
    errors.LimitExceeded("10,001 children"),
    errors.RunConflict("book-1", "other input"),
    errors.RunNotFound("book-1"),
    errors.StepNotFound("book-1", "rot", ("root",), is_output=True),
    errors.ResultNotFound("return a handle"),
    errors.InvalidTransition("too late: succeeded", "succeeded"),
    errors.LeaseLost("book-1", "root"),
    errors.RunFailed("book-1", {}),
    errors.RunCanceled("book-1"),
    errors.WaitTimeout("5 s are over"),
    errors.RuntimeClosed("make a new one"),
    errors.MissingExtra("the web view", "web", "flowkit watch needs none."),
    errors.StoreError("no"),
    errors.StoreFull("no space"),
    errors.StoreBusy("locked"),
    errors.StoreUnavailable("no such folder"),
    errors.SchemaTooNew("version 9"),
    errors.DataCorrupted("checksum"),
    errors.StepFailure("code"),
    errors.Permanent("empty_message", " ", details={"field": "message"}),
    errors.Retryable("busy", ValueError(""), retry_after=3),
]
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def test_no_error_is_left_out_here():
    public = {name for name in flowkit.__all__ if inspect.isclass(getattr(flowkit, name))}
    named = {name for name in public if issubclass(getattr(flowkit, name), Exception)}
    assert named <= {type(error).__name__ for error in ERRORS}


def pickled(error):
    return pickle.loads(pickle.dumps(error))


@each_error
@pytest.mark.parametrize("passed_on", [copy.copy, pickled])
def test_an_error_that_is_passed_on_says_what_it_said(error, passed_on):
    other = passed_on(error)

    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


class NoSuchPage(errors.Permanent):
    def __init__(self, *, page):
        super().__init__("no_such_page", f"page {page} is not in the book")
        self.page = page


@pytest.mark.parametrize("passed_on", [copy.copy, pickled])
def test_a_failure_of_the_programs_own_class_is_passed_on_however_that_is_called(passed_on):
    other = passed_on(NoSuchPage(page=7))

    assert (type(other), str(other), other.page) == (NoSuchPage, "no_such_page: page 7 is not in the book", 7)


@each_error
def test_an_error_can_be_worked_on_as_any_exception(error):
    """As contextlib, tblib and test runners do; of a frozen class attrs before 25 would refuse it."""
    error = copy.copy(error)

    error.__suppress_context__ = True
    error.seen_by = "the caller"
    if sys.version_info >= (3, 11):
        error.add_note("while the book was read")
        assert error.__notes__ == ["while the book was read"]
    assert error.seen_by == "the caller"
