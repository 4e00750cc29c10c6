"""Does a step cost the same whatever the store holds already? 1,000 steps of 1 ms, and of nothing, beside much else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from benchmarks.flows import Number, fan_out, open_runtime, slow
from benchmarks.measure import Report, directory, rounds, seconds

STEPS = 1_000
DAY = 86_400 * 1_000_000


def filled(place: Path, count: int, change: str | None) -> None:
    """Store *count* steps of another run and put them where *change* says."""
    with open_runtime(place) as rt:
        rt.start_run(fan_out, Number(1), run_id="bystanders")
    database = sqlite3.connect(place / "flowkit.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    columns = [row[1] for row in database.execute("PRAGMA table_info(steps)")]
    names = ", ".join(columns)
    copied = ", ".join({"key": "key + n", "id": "id || '-' || n"}.get(name, name) for name in columns)
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count - 1})"
    database.execute(f"{numbers} INSERT INTO steps ({names}) SELECT {copied} FROM steps, numbers WHERE id = 'part[0]'")
    total = database.execute("SELECT count(*) FROM steps").fetchone()[0]
    database.execute("UPDATE runs SET steps = ?, nodes = ?, open_steps = ?", (total, total, total))
    if change is not None:
        database.execute(change)
    database.execute("COMMIT")
    database.close()


def finished(place: Path, count: int) -> None:
    filled(place, count, "UPDATE steps SET status = 'succeeded', ended_at = created_at, ready_at = NULL")
    database = sqlite3.connect(place / "flowkit.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    database.execute(
        "INSERT INTO results (step, generation, epoch, attempt, worker, started_at, ended_at, body, sha256)"
        " SELECT key, 0, 1, 1, 'w', created_at, created_at, x'7b7d', zeroblob(32) FROM steps"
    )
    database.execute("UPDATE runs SET status = 'succeeded', open_steps = 0, ended_at = created_at")
    database.execute("COMMIT")
    database.close()


UNSERVED = "INSERT INTO lanes (queue, kind) VALUES ('default', 'nobody/serves')"


def unserved(place: Path, count: int) -> None:
    filled(place, count, None)
    with sqlite3.connect(place / "flowkit.db") as database:
        database.execute(UNSERVED)
        database.execute("UPDATE steps SET lane = (SELECT max(id) FROM lanes)")


def pending(place: Path, count: int) -> None:
    filled(place, count, "UPDATE steps SET status = 'pending', deps_left = 1, ready_at = NULL")


def delayed(place: Path, count: int) -> None:
    later = f"delayed_until = ready_at + {DAY}, ready_at = ready_at + {DAY}"
    filled(place, count, f"UPDATE steps SET priority = -9, {later}")


SCENES: dict[str, Callable[[Path], None] | None] = {
    "empty store": None,
    "100,000 finished steps": lambda place: finished(place, 100_000),
    "1,000,000 finished steps": lambda place: finished(place, 1_000_000),
    "100,000 pending": lambda place: pending(place, 100_000),
    "100,000 ready of a kind nobody serves": lambda place: unserved(place, 100_000),
    "100,000 delayed, better priority": lambda place: delayed(place, 100_000),
}


def main() -> None:
    report = Report("growth: 1,000 steps beside what the store holds, seconds (least of the rounds)")
    count = rounds(5)
    for name, fill in SCENES.items():
        with directory() as place:
            if fill is not None:
                fill(place)
            for label, package in (("no-op", fan_out), ("1 ms", slow)):
                report.figures[f"{name}, {label}"] = min(measured(place, package) for _ in range(count))
    for label in ("no-op", "1 ms"):
        base = report.figures[f"empty store, {label}"]
        for name in list(SCENES)[1:]:
            ratio = report.figures[f"{name}, {label}"] / base
            report.bar(f"{name} / empty, {label}", ratio, 1.15, at_least=False)
    report.tell()


def measured(place: Path, package: object) -> float:
    with open_runtime(place) as rt:
        handle = rt.start_run(package, Number(STEPS))  # type: ignore[call-overload]
        with rt.workers():
            return seconds(handle.wait)


if __name__ == "__main__":
    main()
