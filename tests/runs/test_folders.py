"""What is on disk is always the last good one."""

import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from usage_errors import usage_error

from potstill.runs import check_run, clear_up, last_good, open_run, write_atomically, write_folder, write_json


def write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def no_space():
    """A process that may not write files past 4 KiB, as on a full disk (EFBIG in place of ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_write_replaces_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, no_space: None):
    path = tmp_path / "a.bin"
    write_atomically(path, b"good")
    with pytest.raises(OSError, match="too large"):
        write_atomically(path, b"x" * 100_000)
    assert path.read_bytes() == b"good"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_flush_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def fail(handle: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_failing_folder_leaves_the_old_one(tmp_path: Path):
    folder = tmp_path / "student"
    write_folder(folder, lambda aside: write(aside / "w", "good"))

    def torn(aside: Path) -> None:
        (aside / "w").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_folder(folder, torn)
    assert (folder / "w").read_text() == "good"
    assert os.listdir(tmp_path) == ["student"]


def test_a_folder_is_replaced_whole(tmp_path: Path):
    folder = tmp_path / "student"
    write_folder(folder, lambda aside: write(aside / "old", "1"))
    write_folder(folder, lambda aside: write(aside / "new", "2"))
    assert os.listdir(folder) == ["new"]
    assert os.listdir(tmp_path) == ["student"]


def test_json_has_no_nan(tmp_path: Path):
    path = tmp_path / "m.json"
    tree = {"a": float("nan"), "b": [float("inf"), np.float32("nan"), np.int64(3)], "c": {"d": 1.5}, 4: "ü"}
    write_json(path, tree)

    def refuse(token: str) -> None:
        raise AssertionError(token)

    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == {"a": None, "b": [None, None, 3], "c": {"d": 1.5}, "4": "ü"}


def test_a_run_is_opened_once(tmp_path: Path):
    run = open_run(tmp_path / "deep" / "run", resume=False)
    assert run.is_dir()
    open_run(run, resume=False)
    (run / "recipe.yaml").write_text("task: forecast\n")
    with usage_error("run.exists", str(run)):
        open_run(run, resume=False)
    assert open_run(run, resume=True) == run


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path):
    (tmp_path / ".student.old").mkdir()
    (tmp_path / ".student.old" / "weights").write_text("good")
    (tmp_path / ".student.abc").mkdir()
    clear_up(tmp_path / "student")
    assert (tmp_path / "student" / "weights").read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["student"]


def test_readers_find_the_last_good_folder_and_move_nothing(tmp_path: Path):
    (tmp_path / ".student.old").mkdir()
    assert last_good(tmp_path / "student") == tmp_path / ".student.old"
    assert [p.name for p in tmp_path.iterdir()] == [".student.old"]
    (tmp_path / "student").mkdir()
    assert last_good(tmp_path / "student") == tmp_path / "student"
    assert last_good(tmp_path / "absent") == tmp_path / "absent"


def test_a_folder_that_is_no_run(tmp_path: Path):
    with usage_error("run.not_found", str(tmp_path)):
        open_run(tmp_path, resume=True)
    (tmp_path / "file").write_text("x")
    with usage_error("output.is_a_file", "file"):
        open_run(tmp_path / "file", resume=False)
    with usage_error("output.is_a_file", str(tmp_path / "file")):
        open_run(tmp_path / "file" / "run", resume=False)


def test_a_place_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    with usage_error("output.not_writable", "run", str(tmp_path)):
        check_run(tmp_path / "run", resume=False)


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_run("~/run", resume=False) == tmp_path / "run"
    assert open_run("~/run", resume=False) == tmp_path / "run"
