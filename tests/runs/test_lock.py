"""Two processes never write one run."""

import subprocess
import sys
from pathlib import Path

from usage_errors import usage_error

from potstill.runs import locked

HOLDER = """
import os, sys, time
from pathlib import Path
from potstill.runs import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        print(os.getpid(), flush=True)  # by the child, so that what a fork calls in it has been called
    time.sleep(60)
"""


def test_a_folder_is_held_by_one(tmp_path: Path):
    with locked(tmp_path), usage_error("run.in_use", str(tmp_path)), locked(tmp_path):
        raise AssertionError("held twice")
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_the_lock_ends_with_its_process_although_a_forked_one_lives(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with usage_error("run.in_use"), locked(tmp_path):
                raise AssertionError("held twice")
            holder.kill()
            holder.wait()
            with locked(tmp_path):
                Path(f"/proc/{child}").stat()  # it lives
        finally:
            subprocess.run(["kill", "-9", str(child)], check=True)
