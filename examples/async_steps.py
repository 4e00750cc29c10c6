"""Executors that are `async def` run on one event loop: a hundred of them wait at the same time."""

import asyncio
import time

from flowkit import Retry, RunBuilder, RunFailed, Runtime, StepContext, StepGroup, StepHandle, executor, package


@executor("web/fetch")
async def fetch(step: StepContext, path: str) -> str:
    await asyncio.sleep(0.2)  # stands for a request
    return f"body of {path}"


@executor("web/hang", timeout=0.1, retry=Retry(max_attempts=2, initial=0.01))
async def hang(step: StepContext) -> str:
    """The timeout cancels the coroutine, so it can tidy up; each attempt has its own."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print(f"attempt {step.attempt} is told that its time is over")
        raise
    return "never"


@package("crawl")
def crawl(run: RunBuilder, paths: list[str]) -> StepGroup[str]:
    return run.map("fetch", fetch, paths)


@package("stuck")
def stuck(run: RunBuilder) -> StepHandle[str]:
    return run.step("hang", hang)


def main() -> None:
    with Runtime("sqlite:///var/async-steps.db", modules=[__name__], max_workers=100) as rt, rt.workers():
        started = time.monotonic()
        bodies = rt.start_run(crawl, [f"/page/{n}" for n in range(100)]).result()
        took = time.monotonic() - started
        print(f"{len(bodies)} bodies, {bodies[99]!r} the last of them")
        print(f"not {100 * 0.2:.0f} s, as one after another, but {'less than half of it' if took < 10 else took}")
        try:
            rt.start_run(stuck).result()
        except RunFailed as failed:
            print(failed.errors["hang"].code)


if __name__ == "__main__":
    main()
