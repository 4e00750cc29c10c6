"""Append records, tell how far a step is, and watch a run: events as they happen, its history afterwards."""

from flowkit import Event, RunBuilder, Runtime, StepContext, StepHandle, executor, package


@executor("sensors/read")
def read(step: StepContext, values: list[float]) -> float:
    for number, value in enumerate(values):
        # Kept with the result: a failed attempt leaves none. The key makes it one record of this step.
        step.record("readings", f"{number:04d}", {"celsius": value})
        # Operators see this while the step runs (rt.step(...).progress), at most once a second; the last one stays.
        step.progress(number + 1, len(values), f"read {value}")
    step.log.info("sensors_read", count=len(values))
    return max(values)


@package("sensors")
def sensors(run: RunBuilder, values: list[float]) -> StepHandle[float]:
    return run.step("read", read, values)


def show(event: Event) -> None:
    """An observer gets each event after its commit, in the process that made it."""
    print(f"event {event.name} {event.step_id or ''}".rstrip())


def main() -> None:
    with Runtime("sqlite:///var/records.db", modules=[__name__], observers=[show]) as rt:
        run = rt.run(sensors, [19.5, 20.25, 21.0])
        print(f"the highest was {run.result()}")
        page = rt.records(run.id, collection="readings", limit=2)
        while True:
            for record in page:
                print(f"record {record.key}: {record.data}")
            if page.cursor is None:
                break
            page = rt.records(run.id, collection="readings", limit=2, cursor=page.cursor)
        print(rt.step(run.id, "read").progress)
        print("history:", ", ".join(entry.name for entry in rt.history(run.id)))


if __name__ == "__main__":
    main()
