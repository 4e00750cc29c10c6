"""Run steps on a Dask cluster; here it is in this process, elsewhere it is the address of a scheduler.

Needs flowkit-durable[dask].
"""

import logging
import math
import os

import dask.config
from distributed import Client, LocalCluster

from flowkit import RunBuilder, Runtime, StepContext, StepHandle, executor, package


@executor("pi/slice", pool="cluster")
def slice_of_pi(step: StepContext, terms: list[int]) -> float:
    """Runs on a worker of the cluster; what it hands over is committed with its result, by the Runtime that asked."""
    first, last = terms
    step.record("slices", f"{first}", {"pid": os.getpid()})
    return sum((1 - 2 * (n % 2)) / (2 * n + 1) for n in range(first, last))


@executor("pi/sum")
def add_up(*, slices: list[float]) -> float:
    return 4 * sum(slices)


@package("pi")
def pi(run: RunBuilder, slices: int) -> StepHandle[float]:
    parts = run.map("slice", slice_of_pi, [[n * 10_000, (n + 1) * 10_000] for n in range(slices)])
    return run.step("sum", add_up, slices=parts)


def main() -> None:
    # Dask tells at INFO of connections that its own closing has ended while they sent.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    # Left to itself Dask repeats three times what killed a worker; so the step's own Retry decides.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    with (
        LocalCluster(n_workers=2, processes=False, dashboard_address="127.0.0.1:0") as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]  # or Client("tcp://scheduler.example:8786")
        Runtime("sqlite:///var/dask.db", modules=[__name__], pools={"cluster": client.get_executor()}) as rt,
    ):
        run = rt.run(pi, 8)
        print(f"pi is about {run.result():.4f}, off by {abs(run.result() - math.pi):.0e}")
        print(f"{len(rt.records(run.id, collection='slices'))} slices were added up")


if __name__ == "__main__":
    main()
