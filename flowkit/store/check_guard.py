"""The trigger that makes the database itself refuse an illegal move: for tests and checks, production does without."""

from __future__ import annotations

from flowkit.model.moves import AT_ONCE, LEGAL
from flowkit.store.database import Session
from flowkit.store.dialect import SQLiteDialect

_MOVES = ", ".join(sorted(f"'{source.value}>{target.value}'" for source, target in LEGAL | AT_ONCE))

_GUARDS = {
    "guard_moves": (
        "UPDATE OF status ON steps",
        f"OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN ({_MOVES})",
        "no move leads a step from its status to this one",
    ),
    "guard_epochs": ("UPDATE OF epoch ON steps", "NEW.epoch < OLD.epoch", "the epoch of a step only grows"),
    "guard_results": ("UPDATE ON results", "1 = 1", "a committed result never changes"),
}
"""By name: what is watched, when it is refused, and what is said then."""


def install_guard(tx: Session) -> None:
    """Make the store raise on any move outside the table of moves, a falling epoch, or a changed result."""
    for name, (change, when, refusal) in _GUARDS.items():
        if tx.dialect.name == SQLiteDialect.name:
            action = f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            tx.script(f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {change} WHEN {when} {action}")
            continue
        # PostgreSQL keeps what a trigger does in a function, and making one again while workers run would hold them up.
        table = change.split()[-1]
        if tx.script(f"SELECT 1 FROM pg_trigger WHERE tgname = '{name}' AND tgrelid = '{table}'::regclass"):
            continue
        body = f"$$ BEGIN RAISE EXCEPTION '{refusal}'; END $$"
        tx.script(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS {body}")
        tx.script(f"CREATE TRIGGER {name} BEFORE {change} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {name}()")


def remove_guard(tx: Session) -> None:
    """Take the triggers away again."""
    for name, (change, _, _) in _GUARDS.items():
        if tx.dialect.name == SQLiteDialect.name:
            tx.script(f"DROP TRIGGER IF EXISTS {name}")
        else:
            tx.script(f"DROP TRIGGER IF EXISTS {name} ON {change.split()[-1]}")
            tx.script(f"DROP FUNCTION IF EXISTS {name}()")
