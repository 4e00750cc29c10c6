"""A worker process on a benchmark's store; it stops when its standard input ends."""

from __future__ import annotations

import sys
import threading

from benchmarks.on_postgres.server import open_runtime


def main() -> None:
    stop = threading.Event()
    with open_runtime(sys.argv[1]) as rt:
        print("ready", flush=True)
        sys.stdin.readline()
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
        rt.start_workers(stop=stop)


if __name__ == "__main__":
    main()
