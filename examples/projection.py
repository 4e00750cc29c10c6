"""Write a database for readers from steps; it is written at least once, so write it idempotently."""

from flowkit import RunBuilder, Runtime, SQLiteProjectionStore, StepContext, executor, package

TABLE = "CREATE TABLE IF NOT EXISTS prices (item TEXT PRIMARY KEY, cents INTEGER NOT NULL, source TEXT NOT NULL)"


@executor("prices/load")
def load(step: StepContext, prices: dict[str, int]) -> int:
    catalog = step.projection("catalog")
    with catalog.transaction():  # all of it or none; one writer at a time, readers are not held up
        catalog.execute(TABLE)
        # A second attempt, or a second run, replaces what the first one wrote.
        rows = [(item, cents, step.run_id) for item, cents in prices.items()]
        return catalog.executemany("INSERT OR REPLACE INTO prices VALUES (?, ?, ?)", rows)


@package("prices")
def prices(run: RunBuilder, input: dict[str, int]) -> None:
    run.step("load", load, input)


def main() -> None:
    projections = SQLiteProjectionStore("var/projections")
    with Runtime("sqlite:///var/projection.db", modules=[__name__], projection_store=projections) as rt:
        rt.run(prices, {"tea": 450, "cups": 1200})
        last = rt.run(prices, {"tea": 475})
        print(f"{last.result()} row(s) written by the second run")
        for row in rt.projection("catalog").query("SELECT item, cents FROM prices ORDER BY item"):
            print(row)


if __name__ == "__main__":
    main()
