"""Hand over files: small ones with the result, large ones through a store that checks what it gives back."""

import tempfile

from flowkit import FileArtifactStore, RunBuilder, Runtime, SQLiteStore, StepContext, StepHandle, executor, package


@executor("report/write")
def write(step: StepContext, count: int) -> str:
    # At most 1 MiB, kept in the workflow store itself.
    step.artifact("notes.txt", f"{count} squares", "text/plain", metadata={"language": "en"})
    with tempfile.TemporaryFile() as file:
        for number in range(count):
            file.write(f"{number},{number * number}\n".encode())
        file.seek(0)
        # Any size: bytes, a Path or a binary file, which is streamed. It is named by its SHA-256.
        squares = step.store_artifact("squares.csv", file, "text/csv")
    return squares.id


@package("report")
def report(run: RunBuilder, count: int) -> StepHandle[str]:
    return run.step("write", write, count)


def main() -> None:
    files = FileArtifactStore("var/artifacts/files")
    with Runtime(SQLiteStore("var/artifacts/engine.db"), modules=[__name__], artifact_store=files) as rt:
        run = rt.run(report, 50_000)
        result = rt.result(run.id, "write")
        assert result is not None  # None is only for a step that has not ended
        for found in result.artifacts:
            print(f"{found.name}: {found.size} bytes of {found.content_type}, {found.kind}")
        notes = rt.artifact(run.id, "write:artifact:001")
        print(notes.body, notes.metadata)
        # Nothing is handed out unless the bytes have the hash that they were stored under.
        with files.open(run.result()) as file:
            print(file.readline(), file.readline())


if __name__ == "__main__":
    main()
