"""A backup made as the manual says, while workers write, is a sound store with all that was acknowledged before."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

from flowkit import Runtime
from flowkit.runtime.upkeep import check_store
from tests.stories.telling import echo, start

PAGE = Path(__file__).parents[3] / "docs" / "deploying.md"
COPIES = 4


def test_a_copy_made_while_workers_write_is_sound_and_has_every_run_that_was_acknowledged(tmp_path):
    script = tmp_path / "backup.py"
    script.write_text(re.search(r'```python title="backup.py"\n(.*?)```', PAGE.read_text(), re.DOTALL)[1])
    acknowledged: list[str] = []
    started, enough = threading.Semaphore(0), threading.Event()

    def keep_starting(runtime: Runtime) -> None:
        while not enough.is_set():
            run = start(runtime, lambda run: run.step("b", echo, after=run.map("a", echo, range(20))), echo)
            acknowledged.append(run.id)
            started.release()
            run.wait(timeout=100)

    with Runtime(f"sqlite:///{tmp_path / 'busy.db'}", entry_points=False) as busy, busy.workers():
        starting = threading.Thread(target=keep_starting, args=(busy,))
        starting.start()
        before = []
        for number in range(COPIES):
            assert all(started.acquire(timeout=100) for _ in range(3))
            before.append(list(acknowledged))
            copy = [sys.executable, str(script), str(tmp_path / "busy.db"), str(tmp_path / f"copy-{number}.db")]
            subprocess.run(copy, check=True, timeout=100)
        enough.set()
        starting.join(timeout=110)

    for number, ids in enumerate(before):
        with Runtime(f"sqlite:///{tmp_path / f'copy-{number}.db'}", entry_points=False) as copied:
            assert check_store(copied).is_sound
            assert [run_id for run_id in ids if copied.workflow(run_id) is None] == []
