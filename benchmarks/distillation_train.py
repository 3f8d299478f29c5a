"""Train and score the cells of ``distillation.py``: each has a JSON file, and a cell with a file is not trained again.

Every cell uses one thread. Its steps follow from its budget of processor seconds: the budget less the seconds of labels
and of the cut from the teacher, divided by the processor seconds of one step, which are measured for all arms
interleaved.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distillation_data import History
from transformers import TrainerCallback

from potstill.evaluation.benchmark import evaluate_models
from potstill.recipe import ForecastEvaluation, Recipe
from potstill.runs import write_atomically
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData

TIMED_STEPS, ROUNDS = 3, 3
LONG = 5000  # steps of a training of which only the first are timed
SCORED = 120  # windows per data set


@dataclass
class Cell:
    """One student to train.

    Attributes
    ----------
    situation, history, windows, size, equal, arm, seed
        What it is; ``equal`` is what it shares with the other arms: "time", or "steps".
    recipe
        Without its length.
    seconds
        Its budget.
    stored
        Whether its teacher's forecasts are stored before training: where no window is generated and no hidden state is
        compared, the teacher then runs once per window.
    """

    situation: str
    history: History
    windows: int
    size: str
    equal: str
    arm: str
    seed: int
    recipe: Recipe
    seconds: float
    stored: bool

    @property
    def key(self) -> str:
        """Name of its files."""
        equal = "-steps" if self.equal == "steps" else ""
        return f"{self.situation}-{self.history.name}-{self.windows}-{self.size}{equal}-{self.arm}-{self.seed}"

    @property
    def cost_key(self) -> str:
        """Cells with the same cost of a step."""
        data = self.history.data
        return f"{data['context_length']}-{data['prediction_length']}-{self.size}-{self.arm}"

    def with_arm(self, arm: str) -> str:
        """``cost_key`` of the same student trained in another arm."""
        return self.cost_key.removesuffix(self.arm) + arm

    def task(self, steps: int) -> ForecastTask:
        """The task of a training of some steps."""
        recipe = self.recipe.model_copy(deep=True)
        recipe.training.max_steps = steps
        return prepare_forecasting(recipe)


def costs_of(cells: list[Cell], file: Path) -> dict[str, float]:
    """Processor seconds of one step of each kind of cell; measured kinds are read from the file."""
    known: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    kinds = {cell.cost_key: cell for cell in cells if cell.cost_key not in known}
    if not kinds:
        return known
    times: dict[str, list[float]] = {key: [] for key in kinds}
    for turn in range(ROUNDS):
        for key, cell in kinds.items():
            times[key] += _timed(cell)
            print(f"timing round {turn + 1}: {key} {median(times[key]):.3f} s", flush=True)
    known |= {key: median(values) for key, values in times.items()}
    write_atomically(file, json.dumps(known, indent=1))
    return known


def train_cell(cell: Cell, cost: float, folder: Path) -> None:
    """Train, calibrate and score a student; write its JSON file."""
    result = folder / "cells" / f"{cell.key}.json"
    if result.exists():
        return
    run = folder / "runs" / cell.key
    shutil.rmtree(run, ignore_errors=True)
    began = time.process_time()
    provider, spent = _provider(cell.task(LONG), cell, run)
    first = cell.task(LONG)
    cut = _seconds(first.fresh)
    # at equal steps, labels and the cut do not count
    steps = max(1, int((cell.seconds - (spent + cut) * (cell.equal == "time")) / cost))
    task = cell.task(steps)
    validate = task.validation()
    training = task.training("student", TrainingData(task.dataset(steps), provider), steps, validate)
    first_weights: Any = training.student
    start = validate(first_weights)
    training.run(run, resume=False)
    student = task.open("student", run / "student")
    before = _scored(cell, task, student)
    factor = task.calibrate(student, validate)
    found = _scored(cell, task, student)
    figures = {
        "steps": steps,
        "step_seconds": cost,
        "label_seconds": spent,
        "cut_seconds": cut,
        "processor_seconds": time.process_time() - began,
        "parameters": student.parameters,
        "spread": factor,
        "validation_at_start": start["rel_naive"],
        "validation": [line["rel_naive"] for line in _log(run) if line["event"] == "eval"],
        "coverage_before": before["coverage"],
        "sql_before": float(np.mean(before["sql"])),
        **found,
    }
    write_atomically(result, json.dumps(figures))
    shutil.rmtree(run)


def score_teacher(history: History, name: str, source: str, folder: Path) -> None:
    """Score a teacher on the windows of a history, like a cell."""
    result = folder / "cells" / f"teacher-{name}-{history.key}.json"
    if not result.exists():
        from potstill.families.load import load_forecaster

        write_atomically(result, json.dumps(_score(history, load_forecaster(source))))


def _scored(cell: Cell, task: ForecastTask, student: Any) -> dict[str, Any]:
    return _score(cell.history, student)


def _score(history: History, model: Any) -> dict[str, Any]:
    """SQL of the model and of seasonal naive on each window, and the coverage of the model's 80 % band."""
    from potstill.data.series.windows import SeriesWindows

    test = history.scored(SCORED)
    section = history.section()
    train = SeriesWindows(test.store, section, "train")
    found = evaluate_models({"model": model}, test, train, [], ForecastEvaluation(stride=1, max_windows=SCORED))
    name = test.store.datasets[0]
    windows = found.windows[name]
    return {
        "series": windows["series"].tolist(),
        "origin": windows["origin"].tolist(),
        "horizon": test.prediction_length,
        "sql": windows["sql"]["model"].tolist(),
        "naive": windows["sql"]["seasonal_naive"].tolist(),
        "coverage": found.metrics["model"][name]["coverage_80"],
    }


def _provider(task: ForecastTask, cell: Cell, run: Path) -> tuple[Any, float]:
    """The provider of the teacher's outputs, and the processor seconds that its labels took."""
    if not task.learns_from_teacher:
        return None, 0.0
    if not cell.stored:
        return task.live_teachers(), 0.0
    began = time.process_time()
    return task.label(run / "labels"), time.process_time() - began


def _seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _timed(cell: Cell) -> list[float]:
    """Processor seconds of some steps in the trainer."""
    clock = _Clock()
    with tempfile.TemporaryDirectory() as place:
        task = cell.task(LONG)
        provider, _ = _provider(task, cell, Path(place))
        training = task.training("timed", TrainingData(task.dataset(LONG), provider), LONG, dict, random_start=True)
        training.steps = TIMED_STEPS + 2
        trainer = training.trainer(Path(place), [clock])
        trainer.args.save_strategy = "no"
        trainer.train()
    return clock.seconds[1:]


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.last: float | None = None
        self.seconds: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now = time.process_time()
        if self.last is not None:
            self.seconds.append(now - self.last)
        self.last = now


def _log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
