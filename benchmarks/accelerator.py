"""Does the data pipeline keep an accelerator busy? Training from stored labels, and labelling, on one device.

    python benchmarks/accelerator.py                          # on a CUDA device
    python benchmarks/accelerator.py --quick --device cpu     # only checks that the script works

Students of 1 M and 9 M parameters (context 512) and of about 30 M (context 2,048) are trained by Potstill's trainer in
bf16 at batch 1,024, from labels of a tiny teacher: their values do not change the speed. For each student:

- ``windows_per_second``: the trainer, with its data loader and the labels read from disk
- ``bare_windows_per_second``: the training step alone, on a batch that stays on the device, without an optimizer's wait
- ``share_of_peak``: FLOPs of the model's forward pass, times three for the backward pass, of the device's peak

The targets on an H100 are 15,000 windows a second for 1 M, 20,000 for 9 M, and 0.40 of the peak for 30 M.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from potstill.data.series.opening import open_store
from potstill.data.series.training_windows import TrainingWindows
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.cost import count_flops
from potstill.families.chronos2.family import Chronos2Family
from potstill.families.load import load_forecaster
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, ForecastTraining, SeriesData
from potstill.teaching.base import TrainingData
from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.stored import StoredForecasts
from potstill.training.arguments import training_arguments
from potstill.training.hooks import TrainerHooks
from potstill.training.step import DistillationModule, TrainingStep
from potstill.training.trainer import DistillationTrainer

HORIZON, BATCH = 96, 1024
LEVELS = [0.01, *(round(0.05 * k, 2) for k in range(1, 20)), 0.99]
TINY = {"num_layers": 1, "d_model": 32, "d_ff": 64, "num_heads": 1, "d_kv": 32}
PEAK_TFLOPS = 989  # of an H100 SXM in dense bf16, NVIDIA's data sheet


@dataclass(frozen=True)
class Arm:
    """A student's sizes and its context."""

    sizes: dict[str, int]
    context: int


ARMS = {
    "1 M": Arm({"num_layers": 3, "d_model": 128, "d_ff": 512, "num_heads": 2, "d_kv": 64}, 512),
    "9 M": Arm({"num_layers": 3, "d_model": 384, "d_ff": 1536, "num_heads": 6, "d_kv": 64}, 512),
    "30 M": Arm({"num_layers": 6, "d_model": 512, "d_ff": 2048, "num_heads": 8, "d_kv": 64}, 2048),
}


def main() -> None:
    """Run all arms and print the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--steps", type=int, default=120, help="timed steps of each student, after a third as many")
    parser.add_argument("--peak-tflops", type=float, default=PEAK_TFLOPS, help="of the device, in dense bf16")
    given = parser.parse_args()
    if given.quick:
        given.batch_size, given.steps = 8, 3
    figures: dict[str, Any] = {"quick": given.quick, "device": _name(given.device), "batch_size": given.batch_size}
    with tempfile.TemporaryDirectory() as place:
        for name, arm in list(ARMS.items())[: 1 if given.quick else None]:
            figures[name] = train(arm, given, Path(place) / name)
            print(name, figures[name], flush=True)
        figures["labelling"] = labelling(given, Path(place) / "labelling")
    harness.finish(figures, given.output)


def train(arm: Arm, given: Any, folder: Path) -> dict[str, float]:
    """Speed of a student's training."""
    folder.mkdir()
    data = prepare(arm.context, given, folder)
    step, rate = fresh_step(arm, data, given.device), Rate(given)
    precision = "fp32" if given.device == "cpu" else "bf16"
    config = ForecastTraining(batch_size=given.batch_size, precision=precision, device=given.device, learning_rate=1e-4)
    trainer = DistillationTrainer(
        step,
        data,
        training_arguments(config, folder / "checkpoints", rate.last, given.device),
        TrainerHooks(dict, lambda ids, series: str(ids.tolist())),
        callbacks=[rate],
    )
    trainer.args.save_strategy, trainer.args.logging_strategy = "no", "no"
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    student: Any = step.module.student
    context = torch.zeros(1, arm.context)
    flops = 3 * (count_flops(lambda: student.predict(context, HORIZON)) or 0)
    found = rate.windows_per_second
    return {
        "parameters": student.parameters,
        "context": arm.context,
        "windows_per_second": found,
        "bare_windows_per_second": bare(step, data, given),
        "share_of_peak": found * flops / (given.peak_tflops * 1e12),
    }


class Rate(TrainerCallback):
    """Windows per second between two steps, waiting for the device only there."""

    def __init__(self, given: Any):
        self.given = given
        self.first, self.last = max(1, given.steps // 3), max(1, given.steps // 3) + given.steps
        self.began = self.windows_per_second = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.first:
            _wait(self.given.device)
            self.began = time.perf_counter()
        elif state.global_step == self.last:
            _wait(self.given.device)
            took = time.perf_counter() - self.began
            self.windows_per_second = self.given.batch_size * self.given.steps / took


def bare(step: TrainingStep, data: TrainingData, given: Any) -> float:
    """Windows per second of forward, loss, backward and optimizer on one batch that stays on the device."""
    assert data.provider is not None
    batch = data.dataset.batch(np.arange(given.batch_size)).to(given.device)
    targets = data.provider.outputs(batch, {})
    optimizer = torch.optim.AdamW(step.module.parameters(), lr=1e-4, fused=True)

    def once() -> None:
        with torch.autocast(torch.device(given.device).type, torch.bfloat16, enabled=given.device != "cpu"):
            loss, _ = step(step.module, batch, targets, 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(step.module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        once()
    _wait(given.device)
    began = time.perf_counter()
    for _ in range(given.steps):
        once()
    _wait(given.device)
    return given.batch_size * given.steps / (time.perf_counter() - began)


def labelling(given: Any, folder: Path) -> float:
    """Windows per second that the embedded teacher labels, with reading and writing."""
    folder.mkdir()
    dataset = windows(512, given, folder)
    teacher = load_forecaster("embedded", precision="fp32" if given.device == "cpu" else "bf16").freeze()
    teacher.module.to(given.device)
    count = 16 if given.quick else 65_536
    began = time.perf_counter()
    size = min(count, 2048)  # windows per shard
    label_forecasts(teacher, dataset, folder / "labels", batch_size=given.batch_size, shard_windows=size, count=count)
    _wait(given.device)
    return count / (time.perf_counter() - began)


def prepare(context: int, given: Any, folder: Path) -> TrainingData:
    """Windows and their stored labels."""
    dataset = windows(context, given, folder)
    teacher = chronos2(TINY, context).freeze()
    teacher.module.to(given.device)
    store = label_forecasts(teacher, dataset, folder / "labels", batch_size=given.batch_size)
    return TrainingData(dataset, StoredForecasts(store))


def windows(context: int, given: Any, folder: Path) -> TrainingWindows:
    """Windows of random walks with a daily wave."""
    rng, rows = np.random.default_rng(0), context + HORIZON + (40 if given.quick else 12_000)
    wave = 10 * np.sin(np.arange(rows) / 24 * 2 * np.pi)
    columns = {f"s{k}": wave + rng.normal(size=rows).cumsum() for k in range(8)}
    path = folder / "series.parquet"
    pd.DataFrame({"date": pd.date_range("2020-01-01", periods=rows, freq="h"), **columns}).to_parquet(path)
    data = SeriesData(paths=[str(path)], context_length=context, prediction_length=HORIZON)
    found = SeriesWindows(open_store(data, cache=folder / "cache"), data, "train")
    return TrainingWindows(found, data, seed=0, length=len(found))


def fresh_step(arm: Arm, data: TrainingData, device: str) -> TrainingStep:
    """The student, the default objective and the labels as one training step."""
    torch.manual_seed(0)
    student, objective = chronos2(arm.sizes, arm.context), Objective(ForecastObjective())
    assert data.provider is not None
    objective.bind(student.info, data.provider.infos)
    module = DistillationModule(student, objective).train()
    return TrainingStep(module.to(device), data.provider, HORIZON, seed=0)


def chronos2(sizes: dict[str, int], context: int) -> Any:
    """A Chronos-2 with 21 levels and random weights."""
    family = Chronos2Family()
    return family.build(family.design(None, {**sizes, "quantiles": LEVELS}, context, HORIZON), dropout=0.0)


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if torch.device(device).type == "cuda" else device


if __name__ == "__main__":
    main()
