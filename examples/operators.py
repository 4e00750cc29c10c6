"""What an operator does: ask why a step does not run, pause a queue, retry what failed, prune."""

from pathlib import Path

from flowkit import Permanent, RunBuilder, RunStatus, Runtime, StepContext, StepHandle, executor, package

PAPER = Path("var/paper")


@executor("paper/layout")
def layout(day: str) -> str:
    return f"pages of {day}"


@executor("paper/press", queue="press")
def press(step: StepContext, *, pages: str) -> str:
    if not PAPER.exists():
        raise Permanent("out_of_paper", "the tray is empty")
    return f"{pages}, printed"


@package("edition")
def edition(run: RunBuilder, day: str) -> StepHandle[str]:
    return run.step("press", press, pages=run.step("layout", layout, day))


def main() -> None:
    with Runtime("sqlite:///var/operators.db", modules=[__name__]) as rt:
        PAPER.unlink(missing_ok=True)
        rt.pause_queue("press")  # stored, and obeyed by every worker
        run = rt.start_run(edition, "Monday", metadata={"city": "Ghent"})
        print(rt.explain(run.id, "press").text)
        rt.drain()
        print(rt.explain(run.id, "press").text)

        rt.resume_queue("press")
        rt.drain()
        why = rt.explain(run.id, "press")
        print(f"{run.status()}: {why.reason}, {why.text}")

        PAPER.touch()
        rt.retry_step(run.id, "press")  # a fresh budget of attempts; its history is kept
        rt.drain()
        print(run.result())
        for attempt in rt.attempts(run.id, "press"):
            print(f"generation {attempt.generation}, attempt {attempt.attempt}: {attempt.outcome}")

        found = rt.runs(package="edition", metadata={"city": "Ghent"}, limit=1)
        print([each.id == run.id for each in found], rt.stats().runs[RunStatus.SUCCEEDED])
        print(f"{rt.prune(older_than=0)} run removed, {rt.workflow(run.id)} is left")


if __name__ == "__main__":
    main()
