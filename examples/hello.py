"""The smallest program: one executor, one package, one run."""

from attrs import frozen

from flowkit import Permanent, QueueConfig, RunBuilder, Runtime, SQLiteStore, StepContext, executor, package


@frozen
class HelloInput:
    message: str


@frozen
class HelloResult:
    echoed: str


@executor("hello/echo")
def echo(step: StepContext, input: HelloInput) -> HelloResult:
    if not input.message:
        raise Permanent("empty_message", "message is required")
    return HelloResult(echoed=input.message)


@package("hello", display_name="Hello Workflow")
def hello(run: RunBuilder, input: HelloInput) -> None:
    run.metadata["source"] = "getting-started"
    run.step("root", echo, input)


def main() -> None:
    with Runtime(
        SQLiteStore("./var/hello-engine.db"),
        modules=[__name__],
        worker_id="hello-worker",
        max_workers=2,
        poll_interval=0.25,
        lease_duration=30,
        queues={"default": QueueConfig(max_workers=2)},
    ) as rt:
        run = rt.start_run(
            "hello", HelloInput("hello workflow"), run_id="hello-run-1", metadata={"requestedBy": "example"}
        )
        cycle = rt.run_once()
        print(f"processed {cycle.processed} step(s)")
        print(run.status())
        result = rt.result(run.id, "root")
        assert result is not None  # None is only for a step that has not ended
        print(result.data)


if __name__ == "__main__":
    main()
