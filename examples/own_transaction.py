"""Start a run if, and only if, the program's own transaction commits: both are in one SQLite file."""

from pathlib import Path

import peewee

from flowkit import RunBuilder, RunNotFound, Runtime, SQLiteStore, StepContext, StepHandle, executor, package

database = peewee.SqliteDatabase(None)


class Order(peewee.Model):
    item = peewee.CharField()

    class Meta:
        database = database


@executor("order/ship")
def ship(step: StepContext, item: str) -> str:
    return f"shipped {item}"


@package("order")
def order(run: RunBuilder, item: str) -> StepHandle[str]:
    return run.step("ship", ship, item)


def main() -> None:
    Path("var").mkdir(exist_ok=True)
    database.init("var/own-transaction.db")
    with database.connection_context():
        database.create_tables([Order])
        before = Order.select().count()
    with Runtime(SQLiteStore(database=database), modules=[__name__]) as rt, rt.workers(), database.connection_context():
        with database.atomic():
            Order.create(item="tea")
            kept = rt.start_run(order, "tea")
            # The workers see nothing of it yet; the outer commit wakes them.
        print(kept.result())

        with database.atomic() as transaction:
            Order.create(item="cups")
            lost = rt.start_run(order, "cups")
            transaction.rollback()  # as an exception that leaves the block would
        try:
            lost.wait()
        except RunNotFound:
            print("rolled back: no run of it was started")
        print(f"orders: {Order.select().count() - before}")


if __name__ == "__main__":
    main()
