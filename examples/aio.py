"""Inside an event loop: every read and command of a Runtime has an awaitable twin on `rt.aio`."""

import asyncio

from flowkit import RunBuilder, Runtime, StepContext, StepHandle, executor, package


@executor("kettle/boil")
async def boil(step: StepContext, litres: float) -> float:
    await asyncio.sleep(0.05)
    return litres * 4.2 * 80


@executor("kettle/tell")
def tell(step: StepContext, *, kilojoules: float) -> str:
    """Executors that are plain functions run in threads, so they do not hold up the loop."""
    return f"{kilojoules:.0f} kJ"


@package("kettle")
def kettle(run: RunBuilder, litres: float) -> StepHandle[str]:
    return run.step("tell", tell, kilojoules=run.step("boil", boil, litres))


async def serve(rt: Runtime) -> None:
    async with rt.aio.workers():
        handles = [await rt.aio.start_run(kettle, litres) for litres in (0.5, 1.0, 1.5)]
        for told in await asyncio.gather(*(handle.result(timeout=30) for handle in handles)):
            print(told)
        page = await rt.aio.runs(package="kettle", limit=3)
        print(f"the newest three: {sorted({run.status.value for run in page})}")


def main() -> None:
    with Runtime("sqlite:///var/aio.db", modules=[__name__]) as rt:
        asyncio.run(serve(rt))


if __name__ == "__main__":
    main()
