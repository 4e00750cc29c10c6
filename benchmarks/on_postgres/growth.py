"""Does a step cost the same on PostgreSQL whatever the store holds? 1,000 no-op steps beside 1,000,000 finished."""

from __future__ import annotations

import psycopg

from benchmarks.flows import Number, fan_out
from benchmarks.measure import Report, rounds, seconds
from benchmarks.on_postgres.server import open_runtime, server, version

STEPS, BESIDE = 1_000, 1_000_000


def filled(url: str) -> None:
    """Store a run of very many steps that have all succeeded."""
    with open_runtime(url) as rt:
        rt.start_run(fan_out, Number(1), run_id="bystanders")
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path = flowkit")
        cursor = connection.execute("SELECT * FROM steps LIMIT 0")
        columns = [column.name for column in cursor.description or ()]
        names = ", ".join(columns)
        changed = {
            "key": "key + n",
            "id": "id || '-' || n",
            "status": "'succeeded'",
            "ended_at": "created_at",
            "ready_at": "NULL::bigint",
        }
        copied = ", ".join(changed.get(name, name) for name in columns)
        rows = f"SELECT {copied} FROM steps, generate_series(1, {BESIDE - 1}) AS n WHERE id = 'part[0]'"
        connection.execute(f"INSERT INTO steps ({names}) {rows}".encode())
        connection.execute("UPDATE steps SET status = 'succeeded', ended_at = created_at, ready_at = NULL")
        connection.execute(
            "INSERT INTO results (step, generation, epoch, attempt, worker, started_at, ended_at, body, sha256)"
            " SELECT key, 0, 1, 1, 'w', created_at, created_at, '{}'::bytea, decode(repeat('00', 32), 'hex') FROM steps"
        )
        ended = "status = 'succeeded', open_steps = 0, ended_at = created_at"
        connection.execute(f"UPDATE runs SET steps = {BESIDE}, nodes = {BESIDE}, {ended}".encode())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def measured(url: str) -> float:
    with open_runtime(url) as rt:
        handle = rt.start_run(fan_out, Number(STEPS))
        with rt.workers():
            return seconds(handle.wait)


def main() -> None:
    count = rounds()
    with server() as started, started.database() as empty, started.database() as full:
        report = Report(f"{version(started.url)}, growth: 1,000 no-op steps, seconds (least of the rounds)")
        filled(full)
        times = [(measured(empty), measured(full)) for _ in range(count + 1)][1:]
    report.figures["empty store"] = min(time for time, _ in times)
    report.figures["1,000,000 finished steps"] = min(time for _, time in times)
    least, beside = report.figures.values()
    report.bar("1,000,000 finished / empty", beside / least, 1.15, at_least=False)
    report.tell()


if __name__ == "__main__":
    main()
