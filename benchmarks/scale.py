"""How work grows: one and two processes, the local engine and Ray, and 10³ to 10⁵ series.

Every arm is a command line in processes of its own, on two cores; memory is the largest sum of the private memory of
its processes, and that of each process. Needs `pip install "potstill[ray]"`.

- training: windows per second of a student with stored labels, in one process and in two (``torchrun``)
- labelling and forecasting with the embedded teacher: the local engine, and Ray with one worker and with two. Both
  write the same bytes. The overhead of Ray per block is that of ``ray_engine.py``: blocks that do nothing
- growth: the first reading of a table of 10³, 10⁴ and 10⁵ series of 192 rows, which is kept in the cache, and then
  forecasts by a student, an exported student and the teacher
"""

from __future__ import annotations

import json
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

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd
import psutil
import torch

ROWS, HORIZON, CONTEXT = 192, 24, 96
POTSTILL = [sys.executable, "-m", "potstill"]
STUDENT = "chronos2:num_layers=3,d_model=128,d_ff=512,num_heads=2"
READING = (
    "import sys; from potstill.data.series.opening import open_store; from potstill.recipe import SeriesData;"
    " open_store(SeriesData(paths=[sys.argv[1]]))"
)
GROWTH = (1_000, 10_000, 100_000)
TEACHER_MOST = 10_000  # series that the teacher forecasts
WORKERS = (1, 2)


@dataclass
class Measured:
    """Seconds of a command, and the peak memory of its processes in MB, by kind of process."""

    seconds: float
    memory: dict[str, float] = field(default_factory=dict)

    def figures(self, work: float, unit: str) -> dict[str, Any]:
        """Seconds, rate and memory."""
        return {"seconds": self.seconds, f"{unit}_per_second": work / self.seconds, "memory_mb": self.memory}


def main() -> None:
    """Measure all arms and print the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/scale"))
    parser.add_argument("--series", type=int, default=2000, help="series of the arms other than growth")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    count = 50 if given.quick else given.series
    table = series_file(given.runs, count)
    student = trained(table, given)
    figures: dict[str, Any] = {"quick": given.quick, "series": count}
    for name, figure in {
        "training": lambda: training(table, given),
        "labelling": lambda: labelling(table, given),
        "forecasting": lambda: forecasting(table, count, given),
        "ray_ms_per_block": lambda: overhead(given),
    }.items():
        figures[name] = figure()
        print(name, figures[name], flush=True)
    figures["growth"] = growth(student, given)
    harness.finish(figures, given.output)


def training(table: Path, given: Any) -> dict[str, Any]:
    """Windows per second of one process with a batch of 64, and of two with 32 each."""
    steps, found = 4 if given.quick else 60, {}
    for processes in WORKERS:
        launcher = ["torchrun", "--nproc-per-node", "2", "--master-port", "29517", "-m", "potstill"]
        start = POTSTILL if processes == 1 else [str(Path(sys.executable).with_name(launcher[0])), *launcher[1:]]
        run = fresh(given.runs / f"train-{processes}")
        options = ["--max-steps", str(steps), "--batch-size", str(64 // processes), "--labels", "auto"]
        measured = measure([*start, "distill", *distill_options(table), *options, "--output", str(run)])
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        rates = [line["windows_per_second"] for line in lines if line["event"] == "train"]
        figures = measured.figures(steps * 64, "windows")
        found[f"{processes} processes"] = {**figures, "windows_per_second": harness.median(rates[len(rates) // 2 :])}
    return found


def labelling(table: Path, given: Any) -> dict[str, Any]:
    """The teacher's labels, local and with Ray."""
    found, first = {}, None
    for name, more in engines().items():
        folder = fresh(given.runs / f"labels-{name.replace(' ', '-')}")
        command = ["label", *data_options(table), "--teacher", "embedded", "--output", str(folder), *more]
        measured = measure([*POTSTILL, *command])
        shards = {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*.safetensors"))}
        first = first or shards
        windows = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["rows"]
        found[name] = {**measured.figures(windows, "windows"), "shards": len(shards), "same_bytes": shards == first}
    return found


def forecasting(table: Path, count: int, given: Any) -> dict[str, Any]:
    """The teacher's forecasts, local and with Ray."""
    found, first = {}, None
    for name, more in engines().items():
        output = given.runs / f"forecast-{name.replace(' ', '-')}.parquet"
        measured = measure([*POTSTILL, *forecast_command("embedded", table, output), *more])
        written = pd.read_parquet(output)
        first = written if first is None else first
        found[name] = {**measured.figures(count, "series"), "same_table": written.equals(first)}
    return found


def overhead(given: Any) -> float:
    """Milliseconds of Ray per block of work, besides the work."""
    from ray_engine import per_block

    from potstill.compute.cluster import connected
    from potstill.compute.options import RayOptions

    # workers import ray_engine by its name
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    torch.set_num_threads(1)
    with connected(RayOptions(concurrency=WORKERS[-1])) as cluster:
        return per_block(cluster, 50 if given.quick else 1000)["ms_per_block"]


def growth(student: Path, given: Any) -> dict[str, Any]:
    """Time and memory of forecasts of more and more series."""
    exported = given.runs / "exported"
    if not (exported / "export.json").exists():
        command = ["export", str(student), "--format", "openvino", "--quantize", "bf16", "--output", str(exported)]
        subprocess.run([*POTSTILL, *command, "--allow-loss"], check=True)
    models = {"student": str(student), "exported student": str(exported), "teacher": "embedded"}
    found: dict[str, Any] = {name: {} for name in ("first reading", *models)}
    for count in GROWTH[: 1 if given.quick else None]:
        table = series_file(given.runs, count)
        os.environ["POTSTILL_CACHE"] = str(fresh(given.runs / f"cache-{count}"))
        found["first reading"][f"{count:,}"] = measure([sys.executable, "-c", READING, str(table)]).figures(
            count, "series"
        )
        for name, model in models.items():
            if name == "teacher" and count > TEACHER_MOST:
                continue
            output = given.runs / f"growth-{count}.parquet"
            measured = measure([*POTSTILL, *forecast_command(model, table, output)])
            found[name][f"{count:,}"] = measured.figures(count, "series")
            print(name, count, found[name][f"{count:,}"], flush=True)
    return found


def engines() -> dict[str, list[str]]:
    """Options of the engines by name."""
    more = {f"ray, {n} workers": ["--engine", "ray", "--concurrency", str(n)] for n in WORKERS}
    return {"local": [], **more}


def trained(table: Path, given: Any) -> Path:
    """A student of a few steps: only its speed counts."""
    run = given.runs / "student"
    if not (run / "metrics.json").exists():
        steps = ["--max-steps", "4"]
        subprocess.run([*POTSTILL, "distill", *distill_options(table), *steps, "--output", str(run)], check=True)
    return run


def distill_options(table: Path) -> list[str]:
    """Options of a training: an evaluation that takes no time."""
    less = ["evaluation.baselines=[]", "evaluation.max_windows=2", "training.eval_windows=8", "training.warmup=0"]
    sets = [part for one in less for part in ("--set", one)]
    return ["--teacher", "embedded", "--student", STUDENT, *data_options(table), "--device", "cpu", *sets]


def data_options(table: Path) -> list[str]:
    """Options of windows of the table."""
    lengths = ["--context-length", str(CONTEXT), "--prediction-length", str(HORIZON)]
    return ["--data", str(table), *lengths, "--split", "4:1:1"]


def forecast_command(model: str, table: Path, output: Path) -> list[str]:
    """The forecast of a table."""
    return ["forecast", model, str(table), "--prediction-length", str(HORIZON), "--output", str(output)]


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


if __name__ == "__main__":
    main()
