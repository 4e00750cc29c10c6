"""Cancel a run: what waits ends at once, what runs is told, and whatever it still delivers is discarded."""

import time

from flowkit import InvalidTransition, RunBuilder, RunCanceled, Runtime, StepContext, StepHandle, executor, package


@executor("film/encode")
def encode(step: StepContext, frames: int) -> str:
    for frame in range(frames):
        if step.canceled:
            print("encode: told to stop, tidying up")
            step.raise_if_canceled()
        step.progress(frame, frames)
        time.sleep(0.01)
    return "film.mkv"


@executor("film/publish")
def publish(*, file: str) -> str:
    return f"published {file}"


@package("film")
def film(run: RunBuilder, frames: int) -> StepHandle[str]:
    return run.step("publish", publish, file=run.step("encode", encode, frames))


def main() -> None:
    with Runtime("sqlite:///var/cancel.db", modules=[__name__]) as rt, rt.workers():
        run = rt.start_run(film, 100_000)
        while rt.step(run.id, "encode").status != "running":
            time.sleep(0.01)
        told = rt.cancel_run(run.id).status
        ended = run.wait().status
        # Printed only now: until the run has ended, its executor may be printing too.
        print(f"status after cancel_run: {told}")
        print(f"in the end: {ended}")
        for step in rt.steps(run.id):
            print(f"{step.id}: {step.status} ({step.reason})")
        try:
            run.result()
        except RunCanceled as error:
            print(error.run_id == run.id)

        done = rt.start_run(film, 1)
        done.wait()
        try:
            rt.cancel_run(done.id)
        except InvalidTransition as error:
            print(error)


if __name__ == "__main__":
    main()
