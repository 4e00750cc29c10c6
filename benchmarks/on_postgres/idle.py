"""What a worker that has nothing to do costs the server: statements a second, as its own log counts them."""

from __future__ import annotations

import re
import time
from pathlib import Path

from benchmarks.flows import Number, one
from benchmarks.measure import Report, rounds
from benchmarks.on_postgres.server import open_runtime, server, version, workers

SECONDS = 20
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+): ")


def statements(log: Path) -> int:
    return len(STATEMENT.findall(log.read_text(errors="replace")))


def main() -> None:
    rounds(1)
    with server() as started, started.database() as url:
        report = Report(f"{version(started.url)}, idle: statements a second of one worker with nothing to do")
        with open_runtime(url) as rt, workers(url, 1):
            rt.start_run(one, Number(1)).result()
            rt.close()
            time.sleep(3)
            started.execute("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
            time.sleep(1)
            before = statements(started.log)
            time.sleep(SECONDS)
            report.figures["statements/s"] = (statements(started.log) - before) / SECONDS
    report.bar("statements/s", report.figures["statements/s"], 2, at_least=False)
    report.tell()


if __name__ == "__main__":
    main()
