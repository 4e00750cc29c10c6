"""The raw limit: hand-written psycopg loops that do the least durable work for the same scenario."""

from __future__ import annotations

import json
import time
from typing import Any

import psycopg

SCHEMA = """
CREATE TABLE tasks (
    id integer PRIMARY KEY, status text NOT NULL, input text NOT NULL, result text, waits integer NOT NULL
);
CREATE INDEX ready ON tasks (id) WHERE status = 'ready'
"""

# One statement in autocommit mode is one transaction in one round trip, which is the least that there can be.
LEASE = """UPDATE tasks SET status = 'running' WHERE id IN (
    SELECT id FROM tasks WHERE status = 'ready' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id, input"""
COMPLETE = """UPDATE tasks t SET status = 'done', result = d.result
    FROM unnest(%s::int[], %s::text[]) AS d (id, result) WHERE t.id = d.id AND t.status = 'running'"""
COMPLETE_AND_FREE = """WITH done AS (
    UPDATE tasks t SET status = 'done', result = d.result
    FROM unnest(%s::int[], %s::text[]) AS d (id, result) WHERE t.id = d.id AND t.status = 'running' RETURNING t.id)
    UPDATE tasks t SET status = 'ready', waits = 0 FROM done WHERE t.id = done.id + 1 AND t.waits = 1"""


def open_raw(url: str, count: int, *, waits: bool = False) -> psycopg.Connection[Any]:
    """Open a database with *count* tasks; with *waits* each but the first waits for the one before it."""
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(SCHEMA)
    rows = [
        (n + 1, "pending" if waits and n else "ready", json.dumps({"n": n}), int(waits and n > 0)) for n in range(count)
    ]
    with connection.transaction():
        connection.cursor().executemany("INSERT INTO tasks (id, status, input, waits) VALUES (%s, %s, %s, %s)", rows)
    connection.execute("ANALYZE tasks")
    return connection


def step(connection: psycopg.Connection[Any], batch: int, complete: str) -> int:
    """Lease some tasks in one transaction and complete them in another; returns how many."""
    rows = connection.execute(LEASE, (batch,)).fetchall()
    results = [json.dumps(json.loads(text)) for _, text in rows]
    connection.execute(complete.encode(), ([task for task, _ in rows], results))
    return len(rows)


def drain(url: str, count: int, batch: int, *, chain: bool = False) -> float:
    """Return steps a second of the least work: lease, read the input, write a result, in batches of *batch*."""
    connection = open_raw(url, count, waits=chain)
    complete = COMPLETE_AND_FREE if chain else COMPLETE
    started, left = time.perf_counter(), count
    while left:
        left -= step(connection, batch, complete)
    elapsed = time.perf_counter() - started
    connection.close()
    return count / elapsed


def pair_latencies(url: str, count: int) -> list[float]:
    """Return how long each pair of commits takes: one to lease, one to complete."""
    connection = open_raw(url, count)
    found = []
    for _ in range(count):
        started = time.perf_counter()
        step(connection, 1, COMPLETE)
        found.append(time.perf_counter() - started)
    connection.close()
    return found
