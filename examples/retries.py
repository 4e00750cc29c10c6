"""Say which failures are worth another attempt, and look at the attempts that were made."""

from flowkit import (
    Permanent,
    Retry,
    Retryable,
    RunBuilder,
    RunFailed,
    Runtime,
    StepContext,
    StepHandle,
    executor,
    package,
)


@executor("shop/reserve", retry=Retry(max_attempts=4, initial=0.05, multiplier=2, jitter=0.2))
def reserve(step: StepContext, item: str) -> str:
    if step.attempt < 3:
        raise Retryable("warehouse_busy", f"attempt {step.attempt} found it busy")
    return f"{item} reserved in attempt {step.attempt}"


@executor("shop/call", retry=Retry(initial=0.05, on=(ConnectionError,)))
def call(step: StepContext, item: str) -> str:
    """Exceptions of other libraries are retried if their type, or a base of it, is listed."""
    if step.attempt == 1:
        raise ConnectionResetError("the line went dead")
    return f"called about {item}"


@executor("shop/limited")
def limited(step: StepContext, item: str) -> str:
    """The other side says when to come back: that replaces the delay of the policy."""
    if step.attempt == 1:
        raise Retryable("rate_limited", "429", retry_after=0.1, details={"item": item})
    return f"{item} came through"


@executor("shop/check")
def check(item: str) -> str:
    raise Permanent("no_such_item", f"nobody sells {item}")


@package("shop")
def shop(run: RunBuilder, item: str) -> StepHandle[str]:
    run.step("call", call, item)
    run.step("limited", limited, item)
    return run.step("reserve", reserve, item)


@package("wrong")
def wrong(run: RunBuilder, item: str) -> StepHandle[str]:
    return run.step("check", check, item)


def main() -> None:
    with Runtime("sqlite:///var/retries.db", modules=[__name__]) as rt:
        run = rt.run(shop, "tea")
        print(run.result())
        for step_id in ("reserve", "call", "limited"):
            for attempt in rt.attempts(run.id, step_id):
                reason = f" ({attempt.error.code}: {attempt.error.message})" if attempt.error else ""
                print(f"{step_id} {attempt.attempt}: {attempt.outcome}{reason}")
        try:
            rt.run(wrong, "unicorns").result()
        except RunFailed as failed:
            error = failed.errors["check"]
            print(f"check: {error.code}: {error.message}, retryable: {error.retryable}")


if __name__ == "__main__":
    main()
