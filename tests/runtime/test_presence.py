"""A process is known by its number and its birth, so that a later one of that number is not taken for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flowkit.runtime.presence import own_presence, process_exists

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")


def test_this_process_exists() -> None:
    me = own_presence()
    assert me.pid == os.getpid()
    assert process_exists(me.pid, me.born)


@needs_proc
def test_another_process_that_got_the_number_is_not_the_same() -> None:
    me = own_presence()
    assert me.born.isdigit()
    assert process_exists(me.pid, str(int(me.born) - 1)) is False


def test_a_process_that_ended_does_not_exist_even_before_its_parent_takes_notice() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    assert process_exists(child.pid, "")
    child.kill()
    child.stdout.read()  # ends when the child has
    if os.path.exists("/proc/self/stat"):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process_exists(child.pid, "") is False
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert process_exists(child.pid, "") is False
