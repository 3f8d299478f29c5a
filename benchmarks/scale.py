"""How work grows: one and two processes, the local engine and Ray; more series, longer horizons and more experts.

Every arm is a command line in processes of its own, on two cores; memory is the largest sum of the private memory of
its processes, and that of each process. Needs `pip install "potstill[ray]"`.

- training: windows per second of a student with stored labels, in one process and in two (``torchrun``)
- labelling and forecasting with the embedded teacher: the local engine, and Ray with one worker and with two. Both
  write the same bytes. The overhead of Ray per block is that of ``ray_engine.py``: blocks that do nothing
- growth: the first reading of a table of 10³, 10⁴ and 10⁵ series of 192 rows, which is kept in the cache, and then
  forecasts by a student, an exported student and the teacher; of 24 to 384 steps; by mixtures of 2 to 8 experts
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import pandas as pd
import torch
from scale_commands import POTSTILL, data_options, distill_options, forecast_command, fresh, measure, series_file
from scale_growth import growth

WORKERS = (1, 2)


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


if __name__ == "__main__":
    main()
