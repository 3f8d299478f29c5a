"""Speed of training from stored labels: against the bare training step, and against a teacher called in the loop.

A base-size teacher (120 M, random weights: speed does not depend on them), the 384/1536/3/6 student, batch 32,
720 → 96. Within a precision the steps of all arms are interleaved, and ratios are medians over pairs:

- labels: Potstill's trainer and data loader, windows gathered from a store of series, labels from a label store
- bare: forward, objective, backward, clipping and fused AdamW on a batch in memory
- upstream_in_loop: ``Chronos2Pipeline.predict`` of the teacher, then the bare step
- own_in_loop: Potstill's ``predict`` of the same teacher (fast path), then the bare step; also with bf16 weights

Then labelling: the teacher with fp32 and with bf16 weights, windows per second and the difference of their labels.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import torch
from chronos import Chronos2Pipeline
from transformers import TrainerCallback

from potstill.data.series.opening import open_store
from potstill.data.series.training_windows import TrainingWindows
from potstill.data.series.windows import SeriesWindows
from potstill.families.chronos2.family import Chronos2Family
from potstill.families.precision import device_precision
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective, ForecastTraining, SeriesData
from potstill.teaching.base import TrainingData
from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.live import LiveTeachers
from potstill.teaching.stored import StoredForecasts
from potstill.training.arguments import training_arguments
from potstill.training.hooks import TrainerHooks
from potstill.training.step import DistillationModule, TrainingStep
from potstill.training.trainer import DistillationTrainer
from potstill.types import Forecast, Output, Request

CONTEXT, HORIZON, BATCH = 720, 96, 32
LEVELS = [0.01, *(round(0.05 * k, 2) for k in range(1, 20)), 0.99]
BASE = {"num_layers": 12, "d_model": 768, "d_ff": 3072, "num_heads": 12, "d_kv": 64}
BF16 = device_precision("auto", "cpu") == "bf16"
TINY = {"num_layers": 1, "d_model": 32, "d_ff": 64, "num_heads": 1, "d_kv": 32}


def main() -> None:
    """Run all arms and print the figures."""
    given = harness.options(__doc__)
    rounds, every = (4, 4) if given.quick else (36, 6)
    torch.manual_seed(0)
    teacher = chronos2(BASE).freeze()
    half = chronos2(BASE).freeze()
    half.module.load_state_dict(teacher.module.state_dict())
    half.module.to(torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(Path(folder))
        figures: dict[str, Any] = {
            "teacher_parameters": teacher.parameters,
            "student_parameters": chronos2(Chronos2Family.presets["3x384"]).parameters,
            "quick": given.quick,
        }
        precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
        for precision in precisions:
            if precision == "bf16" and not BF16:
                print("This processor has no bf16: training in bf16 is left out, labelling in bf16 is emulated.")
                continue
            race = Race(data, precision, teacher, half, rounds, every, Path(folder))
            figures[precision] = race.figures()
            print(precision, figures[precision])
        figures["labelling"] = labelling(teacher, half, data.dataset, 1 if given.quick else 6)
    harness.finish(figures, given.output)


def chronos2(sizes: dict[str, int]) -> Any:
    """A Chronos-2 with upstream's lengths, 21 levels and random weights."""
    family = Chronos2Family()
    return family.build(family.design(None, {**sizes, "quantiles": LEVELS}, 2048, 1024), dropout=0.0)


def prepare(folder: Path) -> TrainingData:
    """Training windows from CSV files with 2 % missing values, and labels of all windows.

    A tiny teacher writes the labels: their values do not affect speed, their size and place on disk do.
    """
    rng = np.random.default_rng(0)
    for k in range(4):
        steps = np.arange(3000)
        values = 100 * k + 10 * np.sin(2 * np.pi * steps / 24) + rng.normal(size=len(steps)).cumsum()
        values[rng.random(len(steps)) < 0.02] = np.nan
        stamps = np.datetime64("2020-01-01T00") + steps.astype("timedelta64[h]")
        rows = (f"{stamp},{'' if np.isnan(value) else value}" for stamp, value in zip(stamps, values, strict=True))
        (folder / f"series{k}.csv").write_text("date,value\n" + "\n".join(rows) + "\n", encoding="utf-8")
    paths = [str(path) for path in sorted(folder.glob("*.csv"))]
    data = SeriesData(paths=paths, context_length=CONTEXT, prediction_length=HORIZON)
    windows = SeriesWindows(open_store(data, cache=folder / "cache"), data, "train")
    dataset = TrainingWindows(windows, data, seed=0, length=len(windows))
    store = label_forecasts(chronos2(TINY).freeze(), dataset, folder / "labels", batch_size=256, shard_windows=512)
    return TrainingData(dataset, StoredForecasts(store))


class Race:
    """One precision: the trainer runs, and the other arms run between its steps."""

    def __init__(
        self,
        data: TrainingData,
        precision: Literal["fp32", "bf16"],
        teacher: Any,
        half: Any,
        rounds: int,
        every: int,
        folder: Path,
    ):
        self.precision, self.teacher, self.half = precision, teacher, half
        self.pipeline = Chronos2Pipeline(teacher.module)
        self.rounds, self.every = rounds, every
        self.batch = data.dataset.batch(np.arange(BATCH) * 7)
        assert data.provider is not None
        self.targets = data.provider.outputs(self.batch, {})
        self.bare = fresh_step(data)
        self.optimizer = torch.optim.AdamW(self.bare.module.parameters(), lr=1e-4, fused=True)
        self.turns: list[dict[str, float]] = []
        config = ForecastTraining(batch_size=BATCH, precision=precision, device="cpu", learning_rate=1e-4)
        trainer = DistillationTrainer(
            fresh_step(data),
            data,
            training_arguments(config, folder / f"checkpoints-{precision}", 10_000, "cpu", progress=False),
            TrainerHooks(dict, lambda ids, series: str(ids.tolist())),
            callbacks=[Between(self)],
        )
        trainer.train()

    def turn(self, labels: float) -> bool:
        """Run the other arms after a trainer step of ``labels`` seconds; returns whether all rounds are done."""
        times = {"labels": labels, "bare": harness.seconds(lambda: self.step(self.targets))}
        self.turns.append(times)
        done = len(self.turns) - WARM
        if done > 0 and done % self.every == 0:
            times["upstream_in_loop"] = harness.seconds(self.upstream_in_loop)
            times["own_in_loop"] = harness.seconds(lambda: self.own_in_loop(self.teacher))
            if BF16:
                times["own_bf16_in_loop"] = harness.seconds(lambda: self.own_in_loop(self.half))
        return done >= self.rounds

    def step(self, targets: dict[str, Output]) -> None:
        """The bare student step."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            loss, _ = self.bare(self.bare.module, self.batch, targets, 0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.bare.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def upstream_in_loop(self) -> None:
        """The usual loop without a label store: upstream's predict, then the step."""
        quantiles = self.pipeline.predict(self.batch.context[:, None], prediction_length=HORIZON, batch_size=BATCH)
        values = torch.cat(list(quantiles)).double()
        zeros = torch.zeros(BATCH, 1, dtype=torch.float64)
        self.step({"teacher": Output(Forecast(self.teacher.levels, values, zeros, zeros + 1))})

    def own_in_loop(self, teacher: Any) -> None:
        """Potstill's live teacher, then the step."""
        self.step(LiveTeachers({"teacher": teacher}).outputs(self.batch, {"teacher": Request(HORIZON)}))

    def figures(self) -> dict[str, float]:
        """Windows per second of each arm and the paired ratios."""
        turns = self.turns[WARM:]
        times = {arm: [turn[arm] for turn in turns if arm in turn] for arm in turns[-1]}
        figures = {f"{arm}_windows_per_second": BATCH / harness.median(taken) for arm, taken in times.items()}
        figures["speed_of_bare_step"] = harness.paired_ratio(times["bare"], times["labels"])
        for arm in times.keys() - {"labels", "bare"}:
            beside = [turn["labels"] for turn in turns if arm in turn]
            figures[f"times_{arm}"] = harness.paired_ratio(times[arm], beside)
        figures["pairs"] = len(turns)
        return figures


WARM = 2


class Between(TrainerCallback):
    """Times the trainer from the end of one step to the end of the next, and runs the other arms in between."""

    def __init__(self, race: Race):
        self.race, self.resumed = race, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.resumed = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_training_stop = self.race.turn(time.perf_counter() - self.resumed)
        self.resumed = time.perf_counter()
        return control


def fresh_step(data: TrainingData) -> TrainingStep:
    """The student, the default objective and the labels as one training step."""
    torch.manual_seed(1)
    student, objective = chronos2(Chronos2Family.presets["3x384"]), Objective(ForecastObjective())
    assert data.provider is not None
    objective.bind(student.info, data.provider.infos)
    return TrainingStep(DistillationModule(student, objective).train(), data.provider, HORIZON, seed=0)


def labelling(teacher: Any, half: Any, dataset: TrainingWindows, rounds: int) -> dict[str, float]:
    """Speed of a bf16 teacher against fp32, and the error of its labels, in standard deviations of the context."""
    batch, rounds = (BATCH, rounds) if BF16 else (4, 1)  # emulated bf16 takes seconds per window
    context = dataset.batch(np.arange(batch) * 11).context
    found: dict[str, Forecast] = {}
    arms = {
        name: lambda name=name, model=model: found.update({name: model.predict(context, HORIZON, batch_size=batch)})
        for name, model in (("fp32", teacher), ("bf16", half))
    }
    times = harness.interleave(arms, rounds)
    exact, rough = found["fp32"], found["bf16"].in_scale_of(found["fp32"])
    spread = exact.values.abs().mean().item()
    stored = exact.values.half().float()
    return {
        **{f"{name}_windows_per_second": batch / harness.median(taken) for name, taken in times.items()},
        "batch": batch,
        "bf16_in_hardware": BF16,
        "times_fp32": harness.paired_ratio(times["fp32"], times["bf16"]),
        "bf16_error": (rough.values - exact.values).abs().mean().item(),
        "bf16_error_relative": (rough.values - exact.values).abs().mean().item() / spread,
        "fp16_storage_error_relative": (stored - exact.values).abs().mean().item() / spread,
    }


if __name__ == "__main__":
    main()
