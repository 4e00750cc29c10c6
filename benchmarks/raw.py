"""The raw limit: hand-written ``sqlite3`` loops that do the least durable work for the same scenario."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

SCHEMA = """
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, status TEXT NOT NULL, input TEXT NOT NULL, result TEXT, waits INTEGER NOT NULL
);
CREATE INDEX ready ON tasks (id) WHERE status = 'ready';
"""


def open_raw(place: Path) -> sqlite3.Connection:
    """Open a database with the durability that flowkit's default has."""
    connection = sqlite3.connect(place / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(SCHEMA)
    return connection


def fill(connection: sqlite3.Connection, count: int, *, waits: bool = False) -> None:
    """Store *count* tasks; with *waits* each but the first waits for the one before it."""
    rows = [("pending" if waits and n else "ready", json.dumps({"n": n}), int(waits and n > 0)) for n in range(count)]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO tasks (status, input, waits) VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")


def lease(connection: sqlite3.Connection, count: int) -> list[tuple[int, str]]:
    """Take up to *count* ready tasks in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute(
        "UPDATE tasks SET status = 'running'"
        " WHERE id IN (SELECT id FROM tasks WHERE status = 'ready' ORDER BY id LIMIT ?) RETURNING id, input",
        (count,),
    ).fetchall()
    connection.execute("COMMIT")
    return rows


def complete(connection: sqlite3.Connection, done: list[tuple[str, int]], *, chain: bool = False) -> None:
    """Store results in one transaction; in a chain, make the next task ready."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("UPDATE tasks SET status = 'done', result = ? WHERE id = ? AND status = 'running'", done)
    if chain:
        following = [(task + 1,) for _, task in done]
        connection.executemany("UPDATE tasks SET status = 'ready', waits = 0 WHERE id = ? AND waits = 1", following)
    connection.execute("COMMIT")


def drain(place: Path, count: int, batch: int, *, chain: bool = False) -> float:
    """Return steps a second of the least work: lease, read the input, write a result, in batches of *batch*."""
    connection = open_raw(place)
    fill(connection, count, waits=chain)
    started = time.perf_counter()
    left = count
    while left:
        rows = lease(connection, batch)
        complete(connection, [(json.dumps(json.loads(text)), task) for task, text in rows], chain=chain)
        left -= len(rows)
    elapsed = time.perf_counter() - started
    connection.close()
    return count / elapsed


def inserts(place: Path, count: int) -> float:
    """Return single-row insert transactions a second."""
    connection = open_raw(place)
    started = time.perf_counter()
    for n in range(count):
        fill_one = (json.dumps({"n": n}),)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO tasks (status, input, waits) VALUES ('ready', ?, 0)", fill_one)
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - started
    connection.close()
    return count / elapsed


def pair_latencies(place: Path, count: int) -> list[float]:
    """Return how long each pair of commits takes: one to lease, one to complete."""
    connection = open_raw(place)
    fill(connection, count)
    found = []
    for _ in range(count):
        started = time.perf_counter()
        rows = lease(connection, 1)
        complete(connection, [(text, task) for task, text in rows])
        found.append(time.perf_counter() - started)
    connection.close()
    return found
