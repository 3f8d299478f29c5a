"""The command lines of ``scale.py``, their tables, and a measurement of the processes of a command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

ROWS, HORIZON, CONTEXT = 192, 24, 96
POTSTILL = [sys.executable, "-m", "potstill"]
STUDENT = "chronos2:num_layers=3,d_model=128,d_ff=512,num_heads=2"


@dataclass
class Measured:
    """Seconds of a command, and the peak memory of its processes in MB, by kind of process."""

    seconds: float
    memory: dict[str, float] = field(default_factory=dict)

    def figures(self, work: float, unit: str) -> dict[str, Any]:
        """Seconds, rate and memory."""
        return {"seconds": self.seconds, f"{unit}_per_second": work / self.seconds, "memory_mb": self.memory}


def distill_options(table: Path) -> list[str]:
    """Options of a training: an evaluation that takes no time."""
    less = ["evaluation.baselines=[]", "evaluation.max_windows=2", "training.eval_windows=8", "training.warmup=0"]
    sets = [part for one in less for part in ("--set", one)]
    return ["--teacher", "embedded", "--student", STUDENT, *data_options(table), "--device", "cpu", *sets]


def data_options(table: Path) -> list[str]:
    """Options of windows of the table."""
    lengths = ["--context-length", str(CONTEXT), "--prediction-length", str(HORIZON)]
    return ["--data", str(table), *lengths, "--split", "4:1:1"]


def forecast_command(model: str, table: Path, output: Path, steps: int = HORIZON) -> list[str]:
    """The forecast of a table."""
    return ["forecast", model, str(table), "--prediction-length", str(steps), "--output", str(output)]


def series_file(folder: Path, count: int) -> Path:
    """Random walks with a daily wave, as a long Parquet table."""
    path = folder / f"series-{count}.parquet"
    if not path.exists():
        rng = np.random.default_rng(0)
        values = 50 + 10 * np.sin(np.arange(ROWS) / 24 * 2 * np.pi) + rng.normal(size=(count, ROWS)).cumsum(axis=1)
        ids = np.repeat(np.char.add("s", np.arange(count).astype(str)), ROWS)
        times = np.tile(pd.date_range("2024-01-01", periods=ROWS, freq="h"), count)
        frame = pd.DataFrame({"unique_id": ids, "ds": times, "y": values.astype(np.float32).ravel()})
        frame.to_parquet(path, index=False)
    return path


def fresh(folder: Path) -> Path:
    """A folder that is not there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def measure(command: list[str]) -> Measured:
    """Run a command; its seconds and the memory of its processes.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; its output is printed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with memory_of(process.pid) as memory:
        output, _ = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode:
        print(output, file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(seconds, memory)


@contextmanager
def memory_of(pid: int) -> Iterator[dict[str, float]]:
    """Sample the private memory of a process and its descendants; filled when the block ends."""
    peaks: dict[str, float] = {}
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.2):
            now = _memory(pid)
            for name, size in {**now, "all": sum(now.values())}.items():
                peaks[name] = max(peaks.get(name, 0.0), size)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def _memory(pid: int) -> dict[str, float]:
    """MB of unshared memory of each process of a tree, by its name and a number."""
    found: dict[str, float] = {}
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in processes:
        try:
            name, size = process.name(), process.memory_full_info().uss / 2**20
        except psutil.Error:
            continue
        number = sum(one.partition("#")[0] == name for one in found)
        found[f"{name}#{number}" if number else name] = size
    return found
