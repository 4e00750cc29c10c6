"""What is marked as sensitive is stored and handed on, but neither told in messages nor printed unless asked for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict

import attrs
import pytest

from flowkit import InvalidInput, Sensitive, sensitive
from flowkit.cli.main import run
from flowkit.errors import FlowkitError
from flowkit.model.codec import Codec
from flowkit.model.sensitive import names_in, redacted
from tests.cli.conftest import Shell

SECRET = "s3cr3t-t0k3n"

VAULT = f'''\
"""Logs in with a password, and hands a token on."""

from pathlib import Path
from typing import Annotated

import attrs
from attrs import frozen

from flowkit import Permanent, RunBuilder, Sensitive, StepContext, StepHandle, executor, package, sensitive


@frozen
class Login:
    user: str
    password: str = attrs.field(metadata=sensitive())


@frozen
class Session:
    user: str
    token: Annotated[str, Sensitive()]


@executor("vault/login")
def login(step: StepContext, login: Login) -> Session:
    assert login.password == "{SECRET}"
    step.record("logins", login.user, {{"user": login.user, "token": login.password}})
    return Session(login.user, login.password)


@executor("vault/key")
def key(step: StepContext, *, session: Session) -> Annotated[str, Sensitive()]:
    assert session.token == "{SECRET}"
    return session.token


@executor("vault/break")
def broken(step: StepContext, *, token: str) -> None:
    raise Permanent("refused", "the vault refused", details={{"token": token, "code": 17}})


@package("vault")
def vault(run: RunBuilder, login_: Login) -> StepHandle[str]:
    run.metadata["password"] = login_.password
    run.metadata["user"] = login_.user
    session = run.step("login", login, login_)
    key_ = run.step("key", key, session=session)
    run.step("broken", broken, token=key_, allow_failure=True)
    return key_
'''


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the vault once, by the command line."""
    directory = tmp_path_factory.mktemp("vault")
    shell = Shell(directory, {"FLOWKIT_STORE": "sqlite:///vault.db", "FLOWKIT_MODULES": "vault"})
    shell.write("vault.py", VAULT)
    given = json.dumps({"user": "ada", "password": SECRET})
    done = shell("run", "vault", "--input", given, "--run-id", "v1", "--wait", "--json")
    assert done.code == 0, done.err
    assert SECRET not in done.out + done.err
    wrong = shell("run", "vault", "--input", json.dumps({"user": 17, "password": [SECRET]}))
    assert wrong.code == 2
    assert "$.user: expected str, got int" in wrong.err
    assert "$.password: expected str, got list (sensitive, so no more is told)" in wrong.err
    assert SECRET not in wrong.err
    return directory / "vault.db"


@pytest.fixture
def printed_by(store: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that only reads, here in this process, and return all that it printed."""

    def run_command(*arguments: str) -> str:
        assert run([*arguments, "--store", f"sqlite:///{store}"]) == 0
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run_command


@pytest.mark.parametrize(
    "command",
    [
        ["show", "v1"],
        ["show", "v1", "--json"],
        ["show", "v1", "broken"],
        ["show", "v1", "broken", "--json"],
        ["result", "v1"],
        ["result", "v1", "--json"],
        ["result", "v1", "login"],
        ["result", "v1", "login", "--json"],
        ["result", "v1", "broken", "--json"],
        ["records", "logins"],
        ["records", "logins", "--json"],
    ],
)
def test_commands_print_stars_unless_they_are_told_to_reveal(
    printed_by: Callable[..., str], command: list[str]
) -> None:
    hidden, shown = printed_by(*command), printed_by(*command, "--reveal")
    assert SECRET not in hidden
    assert "***" in hidden
    assert hidden.replace("***", SECRET).split() == shown.split()


@pytest.mark.parametrize("command", [["runs", "--json"], ["watch", "v1", "--json"], ["executors"], ["packages"]])
def test_commands_that_cannot_reveal_print_nothing_of_it(printed_by: Callable[..., str], command: list[str]) -> None:
    assert SECRET not in printed_by(*command)


def test_what_is_stored_stays_as_it_is(store: Path) -> None:
    with sqlite3.connect(store) as opened:
        bodies = [bytes(row[0]) for row in opened.execute("SELECT body FROM results WHERE body IS NOT NULL")]
    opened.close()
    assert len([body for body in bodies if SECRET.encode() in body]) == 2


def starts_with_k(instance: Any, attribute: Any, value: str) -> None:
    if not value.startswith("k"):
        raise ValueError(f"{value!r} does not start with k")


@attrs.frozen
class Checked:
    key: str = attrs.field(metadata=sensitive(), validator=starts_with_k)


@dataclass
class Card:
    number: int = field(metadata=sensitive())
    kinds: list[Annotated[int, Sensitive]] = field(default_factory=list)


class Pair(TypedDict):
    user: str
    pin: Annotated[int, Sensitive()]


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Checked, {"key": SECRET}, "$"),
        (Card, {"number": SECRET}, "$.number"),
        (Card, {"number": 1, "kinds": [1, SECRET]}, "$.kinds[1]"),
        (Pair, {"user": "ada", "pin": SECRET}, "$.pin"),
        (dict[str, Annotated[int, Sensitive()]], {"a": SECRET}, "$.a"),
        (Annotated[int, Sensitive()] | None, SECRET, "$"),
        (Annotated[list[int], Sensitive()], [SECRET], "$"),
    ],
)
def test_no_message_and_no_traceback_shows_what_was_refused(annotation: Any, value: Any, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Codec().structure(value, annotation)
    error: BaseException | None = refused.value
    assert f"input {path}: " in str(error)
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_result_that_does_not_fit_is_refused_without_showing_it() -> None:
    with pytest.raises(FlowkitError) as refused:
        Codec().encode(Card(number=SECRET), Card, "result")  # type: ignore[arg-type]
    assert "result $.number: expected int, got str (sensitive, so no more is told)" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_marked_values_are_stored_and_read_like_any_others() -> None:
    codec = Codec()
    for value, annotation in ((Checked("k1"), Checked), (Card(17, [1, 2]), Card), ({"user": "a", "pin": 1}, Pair)):
        assert codec.decode(codec.encode(value, annotation), annotation) == value
    marked: Any = Annotated[list[int] | None, Sensitive()]
    assert codec.decode(codec.encode([1], marked), marked) == [1]


def test_the_schema_says_what_is_not_to_be_told_and_shows_no_default_of_it() -> None:
    @attrs.frozen
    class Settings:
        host: str = "localhost"
        token: str = attrs.field(default=SECRET, metadata=sensitive())

    schema = Codec().schema(list[Settings])
    assert names_in(schema) == {"token"}
    assert SECRET not in json.dumps(schema)
    value = [{"host": "a", "token": SECRET}, {"host": "b", "token": None}]
    assert redacted(value, schema) == [{"host": "a", "token": "***"}, {"host": "b", "token": None}]
    assert value[0]["token"] == SECRET
