"""Run executors outside the worker's threads: in processes that can be killed, or in a pool of your own."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from flowkit import Retry, RunBuilder, RunFailed, Runtime, StepContext, StepHandle, executor, package


@executor("numbers/largest-prime", pool="process")
def largest_prime(step: StepContext, below: int) -> list[int]:
    """Work of this kind would hold the interpreter's lock; in a process of its own it holds up nobody."""
    step.progress(0, 1, "searching")
    found = next(n for n in range(below - 1, 1, -1) if all(n % d for d in range(2, int(n**0.5) + 1)))
    return [found, os.getpid()]


@executor("numbers/hang", pool="process", timeout=0.3, retry=Retry(max_attempts=1))
def hang() -> None:
    """A thread cannot be stopped from outside; a process is killed when its time is over."""
    time.sleep(600)


@executor("numbers/serial", pool="one-by-one")
def serial(number: int) -> str:
    return f"{number} on {threading.current_thread().name.rsplit('_', 1)[0]}"


@package("numbers")
def numbers(run: RunBuilder, below: int) -> StepHandle[list[int]]:
    run.step("serial", serial, below)
    return run.step("prime", largest_prime, below)


@package("stuck")
def stuck(run: RunBuilder) -> None:
    run.step("hang", hang)


def main() -> None:
    # Any concurrent.futures.Executor: the name is what @executor(pool=...) says. It stays yours to shut down.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="my-thread") as own,
        Runtime("sqlite:///var/process-pool.db", modules=[__name__], pools={"one-by-one": own}) as rt,
    ):
        run = rt.run(numbers, 1_000_000)
        prime, pid = run.result()
        print(f"{prime} was found in {'this' if pid == os.getpid() else 'another'} process")
        print(run.result("serial"))
        try:
            rt.run(stuck).result()
        except RunFailed as failed:
            print(f"hang: {failed.errors['hang'].code}")


if __name__ == "__main__":  # child processes import this file: what the program does stands behind this line
    main()
