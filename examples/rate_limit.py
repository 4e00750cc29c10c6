"""Limit a queue: so many steps at once, so many starts a second, across every worker of the store."""

from flowkit import QueueConfig, RateLimit, RunBuilder, Runtime, StepContext, StepGroup, executor, package

QUEUES = {"mail": QueueConfig(max_workers=2, rate_limit=RateLimit(rate_per_second=20, burst=3))}


@executor("mail/send", queue="mail")
def send(step: StepContext, address: str) -> int:
    """Returns when it was started, in microseconds UTC."""
    return step.lease.acquired_at


@package("mailing")
def mailing(run: RunBuilder, addresses: list[str]) -> StepGroup[int]:
    return run.map("send", send, addresses)


def main() -> None:
    with Runtime("sqlite:///var/rate-limit.db", modules=[__name__], queues=QUEUES) as rt, rt.workers():
        run = rt.start_run(mailing, [f"reader-{n}@example.com" for n in range(10)])
        started = sorted(run.result())
        for at in started:
            print(f"started after {(at - started[0]) / 1_000_000:.2f} s")
        seconds = (started[-1] - started[0]) / 1_000_000
        # In any window of W seconds a queue starts at most burst + rate * W steps.
        print(f"{len(started)} starts in {seconds:.2f} s, at most {3 + 20 * seconds:.1f} were allowed")
        for queue in rt.queues():
            print(f"{queue.name}: max_workers {queue.max_workers}, rate_limit {queue.rate_limit}")


if __name__ == "__main__":
    main()
