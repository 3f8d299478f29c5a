"""Speed of windows that are made on the device, and the host's share of a training step with them.

By `recipes/teacher-embedded.yaml`, on the embedded data set and a fixed pool; on a GPU if there is one, else on a CPU.

- windows per second: batches of `data.device` (single windows, groups), and of the data loader's own windows with the
  same shares, in one process
- host: milliseconds per batch and per training step on batches of eight short windows, whose computation is negligible.
  What remains is the host's work, which a GPU waits for if it is longer than its own. Also the operations per
  batch, and how often values are read from the device (each read waits for all that is queued there)
- step: windows per second of the whole training step at full size
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from potstill.data.series.training_windows import TrainingWindows
from potstill.recipe import ForecastRecipe, Recipe
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData

RECIPE = Path(__file__).parents[1] / "recipes" / "teacher-embedded.yaml"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
POOL, BATCH = 2048, 2048
FEW, SHORT = 8, 32  # windows and context of batches whose computation is negligible
READING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::_unique2"}
VIEWS = {"view", "expand", "slice", "select", "unsqueeze", "transpose", "t", "permute", "split", "alias", "detach"}


def main() -> None:
    """Measure and print the figures."""
    given = harness.options(__doc__)
    rounds = 2 if given.quick else 12
    figures: dict[str, Any] = {"quick": given.quick, "device": DEVICE}
    tasks = {kind: task_of(share) for kind, share in (("single", 0.0), ("grouped", 1.0))}
    arms = {kind: arm(task, BATCH // 8 if given.quick else BATCH) for kind, task in tasks.items()}
    loaded = tasks["single"].recipe.data.model_copy(update={"device": None})
    real = TrainingWindows(tasks["single"].windows, loaded, 0, 10**9)
    few = BATCH // 16
    arms["loaded"] = (real, few)
    figures["windows_per_second"] = speeds(arms, rounds)
    print(figures["windows_per_second"], file=sys.stderr)
    figures["host"] = {
        kind: host(share, 20 if given.quick else 200) for kind, share in (("single", 0.0), ("grouped", 1.0))
    }
    print(figures["host"], file=sys.stderr)
    if DEVICE == "cuda" or not given.quick:
        figures["step"] = full_step(30 if DEVICE == "cuda" else 4)
    harness.finish(figures, given.output)


def task_of(share: float, **changes: Any) -> ForecastTask:
    """The recipe's task on the embedded data, with this share of grouped batches."""
    settings = {
        "data.paths": ["embedded"],
        "data.train_only": [],
        "data.exclude": [],
        "data.device.pool": POOL,
        "data.device.refresh": False,
        "data.device.workers": 0,
        "data.device.contexts": {512: 1.0},
        "data.device.horizons": {96: 1.0},
        "data.device.groups.share": share,
        "training.device": DEVICE,
        "training.batch_size": BATCH,
        "training.max_steps": 10**6,
    }
    return prepare_forecasting(Recipe.read(RECIPE, {**settings, **changes}))


def arm(task: ForecastTask, count: int) -> tuple[Any, int]:
    """A data set and the ids of a batch."""
    dataset = task.dataset(10**6)
    dataset.batch(range(FEW))  # fills the pool
    return dataset, count


def speeds(arms: dict[str, tuple[Any, int]], rounds: int) -> dict[str, float]:
    """Windows per second of processor time (on a GPU of wall-clock time), interleaved."""
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    first, made = dict.fromkeys(arms, 0), dict.fromkeys(arms, 0)

    def work(name: str) -> Any:
        dataset, count = arms[name]

        def batch() -> None:
            first[name] += count
            made[name] = len(dataset.batch(range(first[name], first[name] + count)))
            synchronise()

        return batch

    times = harness.interleave({name: work(name) for name in arms}, rounds, clock=clock)
    return {name: made[name] / harness.median(seconds) for name, seconds in times.items()}


class Operations(TorchDispatchMode):
    """Counts operations that are no views, and reads of values."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        self.operations += name.removeprefix("aten::") not in VIEWS
        self.reads += name in READING
        return func(*args, **(kwargs or {}))


class Phases(TrainerCallback):
    """Processor time of the phases of a training step."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.seconds: dict[str, list[float]] = {}

    def _note(self, phase: str) -> None:
        now = time.process_time()
        if self.last is not None:
            self.seconds.setdefault(phase, []).append(now - self.last)
        self.last = now

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._note("batch and trainer")

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._note("forward, backward, clipping")

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._note("optimizer")

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._note("schedule and average")


def host(share: float, steps: int) -> dict[str, Any]:
    """Milliseconds of the host per batch and per step, operations and reads per batch and per step."""
    lengths = {"data.device.contexts": {SHORT: 1.0}, "data.device.horizons": {16: 1.0}}
    narrow = {"student.overrides": {"num_layers": 5, "d_model": 16, "d_ff": 16, "num_heads": 4, "d_kv": 16}}
    task = task_of(share, **lengths, **narrow, **{"training.batch_size": FEW, "training.precision": "fp32"})
    dataset, _ = arm(task, FEW)
    times = harness.interleave({"batch": lambda: dataset.batch(range(FEW))}, steps, clock=time.process_time)
    found: dict[str, Any] = {"milliseconds_per_batch": 1e3 * harness.median(times["batch"])}
    with Operations() as counted:
        dataset.batch(range(FEW))
    found |= {"operations_per_batch": counted.operations, "reads_per_batch": counted.reads}
    phases = Phases()
    run = task.training("student", TrainingData(dataset), steps, dict, random_start=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = run.trainer(Path(folder), [phases])
        trainer.args.logging_steps, trainer.args.save_strategy = 10**6, "no"
        trainer.train()
    found["milliseconds_of_a_step"] = {name: 1e3 * harness.median(times) for name, times in phases.seconds.items()}
    found["milliseconds_per_step"] = sum(found["milliseconds_of_a_step"].values())
    step = run.step()
    with Operations() as counted:
        loss, _ = step(step.module, dataset.batch(range(FEW)), None, 0)
        loss.backward()
    return found | {
        "operations_of_forward_and_backward": counted.operations,
        "reads_of_forward_and_backward": counted.reads,
    }


def full_step(steps: int) -> dict[str, float]:
    """Windows per second of the recipe's own step, with its lengths and groups; on a CPU in batches of 64."""
    data = ForecastRecipe.read(RECIPE).data
    assert data.device is not None
    groups = data.device.groups.share
    batch = BATCH if DEVICE == "cuda" else 64
    lengths = {"data.device.contexts": {512: 1.0}, "data.device.horizons": {96: 1.0}}
    task = task_of(groups, **lengths, **{"training.batch_size": batch})
    dataset, _ = arm(task, batch)
    run = task.training("student", TrainingData(dataset), steps, dict, random_start=True)
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    with tempfile.TemporaryDirectory() as folder:
        trainer = run.trainer(Path(folder), [])
        trainer.args.logging_steps, trainer.args.save_strategy = 10**6, "no"
        began = clock()
        trainer.train()
        synchronise()
        took = clock() - began
    return {"batch": batch, "windows_per_second": steps * batch / took, "milliseconds": 1e3 * took / steps}


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
