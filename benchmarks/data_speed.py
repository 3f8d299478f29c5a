"""Speed of data loading: the first shuffled batch of a billion windows, and batches of 256 windows of 720 + 96 steps.

- first batch: 10^9 training windows over 10^4 series (a sparse file in place of 5 GB of values), from the store's
  folder to the first batch of the trainer's data loader, in a process of its own; seconds, and peak memory above
  the imports; cold: the values are not in the page cache
- batches: random ids from 10^4 series with 5 % of the values missing; kept, and imputed; labels from a label store
- synthetic: generated series of 1,024 steps per second, in one process
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import torch

from potstill.data.data_report import DataReport
from potstill.data.series.store import Store
from potstill.data.series.training_windows import TrainingWindows
from potstill.data.series.windows import SeriesWindows
from potstill.data.synthetic import generate
from potstill.families.chronos2.family import Chronos2Family
from potstill.malloc import resident
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, ForecastTraining, SeriesData
from potstill.teaching.base import TrainingData
from potstill.teaching.engines.forecasts import label_forecasts
from potstill.training.arguments import training_arguments
from potstill.training.hooks import TrainerHooks
from potstill.training.step import DistillationModule, TrainingStep
from potstill.training.trainer import DistillationTrainer

CONTEXT, HORIZON, BATCH, SERIES = 720, 96, 256, 10_000
TINY = {"num_layers": 1, "d_model": 32, "d_ff": 64, "num_heads": 1, "d_kv": 32}
LEVELS = [0.01, *(round(0.05 * k, 2) for k in range(1, 20)), 0.99]
FIRST_BATCH = "--first-batch"
MEASURED = ("seconds", "processor_seconds", "megabytes_above_imports")


def main() -> None:
    """Run all and print the figures."""
    given = harness.options(__doc__)
    figures: dict[str, Any] = {"quick": given.quick}
    with tempfile.TemporaryDirectory() as folder:
        # 10^5 windows per series in its first 80 %, the training part
        huge = write_store(Path(folder) / "huge", round((100_000 + CONTEXT + HORIZON - 1) / 0.8), sparse=True)
        cold, warm = [], []
        for _ in range(1 if given.quick else 3):
            forget(huge / "values.f32")
            cold.append(first_batch_apart(huge))
            warm.append(first_batch_apart(huge))
        figures["first_batch"] = {"windows": cold[0]["windows"], "series": cold[0]["series"]}
        for name, runs in (("cold", cold), ("warm", warm)):
            figures["first_batch"][name] = {key: harness.median([run[key] for run in runs]) for key in MEASURED}
        print(figures["first_batch"])
        dense = write_store(Path(folder) / "dense", 2_000 if given.quick else 5_000, sparse=False)
        figures["batch_of_256_milliseconds"] = batches(dense, Path(folder), 40 if given.quick else 300)
    figures["synthetic_series_of_1024_per_second"] = synthetic(200 if given.quick else 2_000)
    harness.finish(figures, given.output)


def synthetic(count: int) -> float:
    """Series per second, each with a structure of its own."""
    generate(0, np.arange(20), 1024)  # builds tables once, outside the timing
    return count / harness.seconds(lambda: generate(1, np.arange(count), 1024))


def write_store(folder: Path, length: int, *, sparse: bool) -> Path:
    """A finished store of 10^4 series in Potstill's layout; sparse: all zeros, which take no space on disk."""
    folder.mkdir()
    with (folder / "values.f32").open("wb") as file:
        if sparse:
            file.truncate(4 * SERIES * length)
        else:
            rng = np.random.default_rng(0)
            for _ in range(SERIES):
                values = rng.standard_normal(length, dtype=np.float32).cumsum(dtype=np.float32)
                values[1:-1][rng.random(length - 2) < 0.05] = np.nan
                file.write(values.tobytes())
    arrays = {
        "offsets": np.arange(SERIES + 1, dtype=np.int64) * length,
        "dataset_of": np.zeros(SERIES, np.int32),
        "season": np.full(SERIES, 24, np.int32),
        "starts": np.zeros(SERIES, np.int64),
        "first_row": np.zeros(SERIES, np.int64),
        "grid_rows": np.full(SERIES, length, np.int64),
        "missing": np.full(SERIES, 0 if sparse else length // 20, np.int64),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    index = {
        "names": [f"made/{i}" for i in range(SERIES)],
        "datasets": ["made"],
        "frequency": [""],
        "regular": [True],
        "fingerprint": folder.name,
        "account": DataReport().to_dict(),
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def forget(file: Path) -> None:
    """Remove a file from the page cache."""
    with file.open("rb") as handle:
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def training_windows(folder: Path, missing: str = "keep") -> TrainingWindows:
    """The training data set of a finished store."""
    data = SeriesData.model_validate({"context_length": CONTEXT, "prediction_length": HORIZON, "missing": missing})
    windows = SeriesWindows(Store.load(folder), data, "train")
    return TrainingWindows(windows, data, seed=0, length=len(windows))


def first_batch_apart(store: Path) -> dict[str, float]:
    """``first_batch`` in a fresh process."""
    command = [sys.executable, __file__, FIRST_BATCH, str(store)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def first_batch(store: Path) -> dict[str, float]:
    """Seconds and megabytes from a store's folder to the first batch, with everything imported and a student built."""
    family = Chronos2Family()
    student = family.build(family.design(None, TINY, CONTEXT, HORIZON), 0.0)
    objective = Objective(ForecastObjective(alpha=0))
    objective.bind(student.info, {})
    step = TrainingStep(DistillationModule(student, objective), None, HORIZON, seed=0)
    config = ForecastTraining(batch_size=BATCH, device="cpu", learning_rate=1e-3)
    arguments = training_arguments(config, store.parent / "checkpoints", 100, "cpu", progress=False)
    before, began, worked = (resident("VmRSS") or 0) * 1024, time.perf_counter(), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak that the imports reached
    dataset = training_windows(store)
    hooks = TrainerHooks(dict, lambda ids, series: str(ids.tolist()))
    trainer = DistillationTrainer(step, TrainingData(dataset), arguments, hooks, callbacks=[])
    batch = next(iter(trainer.get_train_dataloader()))
    took, worked = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert batch["batch"].context.shape == (BATCH, CONTEXT)
    return {
        "windows": len(dataset),
        "series": len(dataset.windows.store),
        "seconds": took,
        "processor_seconds": worked,
        "megabytes_above_imports": (peak - before) / 1e6,
    }


def batches(store: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds for 256 random windows: median and 95th percentile of each arm, and its processor time."""
    kept, imputed = training_windows(store), training_windows(store, missing="impute")
    family = Chronos2Family()
    teacher = family.build(family.design(None, {**TINY, "quantiles": LEVELS}, CONTEXT, HORIZON), 0.0).freeze()
    labelled = 8192
    labels = label_forecasts(teacher, kept, folder / "labels", batch_size=256, shard_windows=512, count=labelled)
    rng = np.random.default_rng(1)

    def some(n: int) -> list[int]:
        return rng.integers(0, n, BATCH).tolist()

    arms = {
        "missing_kept": lambda: kept.batch(some(len(kept))),
        "missing_imputed": lambda: imputed.batch(some(len(imputed))),
        "labels": lambda: labels.forecast(some(labelled)),
    }
    with torch.inference_mode():
        walls = harness.interleave(arms, rounds, warm=rounds // 4)
        works = harness.interleave(arms, rounds, clock=time.process_time)
    return {
        arm: {
            "median": 1e3 * harness.median(walls[arm]),
            "p95": 1e3 * float(np.quantile(walls[arm], 0.95)),
            "processor_median": 1e3 * harness.median(works[arm]),
        }
        for arm in arms
    }


if __name__ == "__main__":
    if FIRST_BATCH in sys.argv:
        print(json.dumps(first_batch(Path(sys.argv[-1]))))
    else:
        main()
