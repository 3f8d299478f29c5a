"""Two processes never write one run."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from usage_errors import usage_error

from potstill.runs import locked

HOLDER = "import sys, time; from potstill.runs import locked; from pathlib import Path\n"
HOLDER += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_folder_is_held_by_one(tmp_path: Path):
    with locked(tmp_path), usage_error("run.in_use", str(tmp_path)), locked(tmp_path):
        raise AssertionError("held twice")
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_the_lock_ends_with_its_process(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with usage_error("run.in_use"), locked(tmp_path):
        raise AssertionError("held twice")
    holder.kill()
    holder.wait()
    for _ in range(50):
        try:
            with locked(tmp_path):
                return
        except Exception:
            time.sleep(0.1)
    pytest.fail("still held")
