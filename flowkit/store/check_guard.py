"""The trigger that makes the database itself refuse an illegal move: for tests and checks, production does without."""

from __future__ import annotations

from flowkit.model.moves import LEGAL
from flowkit.store.database import Session

_MOVES = ", ".join(sorted(f"'{source.value}>{target.value}'" for source, target in LEGAL))

_TRIGGERS = {
    "guard_moves": f"""BEFORE UPDATE OF status ON steps
        WHEN OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN ({_MOVES})
        BEGIN SELECT RAISE(ABORT, 'no move leads a step from its status to this one'); END""",
    "guard_epochs": """BEFORE UPDATE OF epoch ON steps WHEN NEW.epoch < OLD.epoch
        BEGIN SELECT RAISE(ABORT, 'the epoch of a step only grows'); END""",
    "guard_results": """BEFORE UPDATE ON results
        BEGIN SELECT RAISE(ABORT, 'a committed result never changes'); END""",
}


def install_guard(tx: Session) -> None:
    """Make the store raise on any move outside the table of moves, a falling epoch, or a changed result."""
    for name, text in _TRIGGERS.items():
        tx.script(f"CREATE TRIGGER IF NOT EXISTS {name} {text}")


def remove_guard(tx: Session) -> None:
    """Take the triggers away again."""
    for name in _TRIGGERS:
        tx.script(f"DROP TRIGGER IF EXISTS {name}")
