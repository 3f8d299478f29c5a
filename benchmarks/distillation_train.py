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
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from distillation_data import Scored, Source
from transformers import TrainerCallback

from potstill.evaluation.benchmark import evaluate_models
from potstill.recipe import ForecastEvaluation, ForecastRecipe
from potstill.runs import write_atomically
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData

TIMED_STEPS, ROUNDS = 5, 3
EVALUATIONS = 8
LONG = 5000  # steps of a training of which only the first are timed
SCORED = 120  # windows per data set


@dataclass
class Cell:
    """One student to train.

    Attributes
    ----------
    situation, source, size, equal, arm, seed
        What it is; ``equal`` is what it shares with the other arms: "time", or "steps".
    recipe
        Without its length.
    seconds
        Its budget.
    stored
        Whether its teacher's forecasts are stored before training: where no window is generated and no hidden state is
        compared, the teacher then runs once per window.
    untrained
        Whether the student is scored with its first weights.
    """

    situation: str
    source: Source
    size: str
    equal: str
    arm: str
    seed: int
    recipe: ForecastRecipe
    seconds: float
    stored: bool
    untrained: bool = False

    @property
    def key(self) -> str:
        """Name of its files."""
        equal = "-steps" if self.equal == "steps" else ""
        source = f"{self.situation}-{self.source.name}-{self.source.windows}"
        return f"{source}-{self.size}{equal}-{self.arm}-{self.seed}"

    @property
    def cost_key(self) -> str:
        """Cells with the same cost of a step: those with the same windows, student, terms and place of the teacher."""
        data, objective = self.recipe.data, self.recipe.objective
        teacher = "none" if objective.alpha == 0 else "stored" if self.stored else "live"
        parts = [data.context_length, data.prediction_length, self.size, teacher, *objective.terms]
        generated = ["generated"] if data.synthetic else []
        return "-".join(map(str, [self.situation, *parts, *generated]))

    def task(self, steps: int) -> ForecastTask:
        """The task of a training of some steps."""
        recipe = self.recipe.model_copy(deep=True)
        recipe.training.max_steps = steps
        recipe.training.eval_steps = -(-steps // EVALUATIONS)
        return prepare_forecasting(recipe)


def costs_of(cells: list[Cell], file: Path, pool: Executor) -> dict[str, float]:
    """Processor seconds of one step of each kind of cell; measured kinds are read from the file."""
    known: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    kinds = {cell.cost_key: cell for cell in cells if cell.cost_key not in known}
    rounds = [list(pool.map(_timed, kinds.values())) for _ in range(ROUNDS)]
    for number, key in enumerate(kinds):
        known[key] = median([seconds for one in rounds for seconds in one[number]])
        print(f"{key}: {known[key]:.3f} s per step", flush=True)
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
    provider, spent = (None, 0.0) if cell.untrained else provider_of(cell.task(LONG), cell, run)
    first = cell.task(LONG)
    cut = _seconds(first.fresh)
    # at equal steps, labels and the cut do not count
    steps = 0 if cell.untrained else max(1, int((cell.seconds - (spent + cut) * (cell.equal == "time")) / cost))
    task = cell.task(max(1, steps))
    validate = task.validation()
    student: Any = task.fresh()
    student.freeze()
    start = validate(student)
    if steps:
        training = task.training("student", TrainingData(task.dataset(steps), provider), steps, validate)
        training.run(run, resume=False)
        student = task.open("student", run / "student")
    before = {one.name: score(one, student) for one in cell.source.scored}
    task.calibrate(student, validate, "student")
    found = {one.name: score(one, student) for one in cell.source.scored}
    figures = {
        "steps": steps,
        "step_seconds": cost,
        "label_seconds": spent,
        "cut_seconds": cut,
        "processor_seconds": time.process_time() - began,
        "parameters": student.parameters,
        "spread": student.spread,
        "validation_at_start": start["rel_naive"],
        "validation": {line["step"]: line["rel_naive"] for line in _log(run) if line["event"] == "eval"},
        "coverage_before": {name: one["coverage"] for name, one in before.items()},
        "sets": found,
    }
    write_atomically(result, json.dumps(figures))
    shutil.rmtree(run, ignore_errors=True)


def score_teacher(scored: Scored, name: str, source: str, folder: Path) -> None:
    """Score a teacher on a data set, like a cell."""
    result = folder / "cells" / f"teacher-{name}-{scored.key}.json"
    if not result.exists():
        from potstill.families.load import load_forecaster

        write_atomically(result, json.dumps(score(scored, load_forecaster(source))))


def score(scored: Scored, model: Any) -> dict[str, Any]:
    """SQL of the model and of seasonal naive on each window, and the coverage of the model's 80 % band."""
    test = scored.test(SCORED)
    config = ForecastEvaluation(stride=1, max_windows=SCORED)
    found = evaluate_models({"model": model}, test, scored.train(), [], config)
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


def provider_of(task: ForecastTask, cell: Cell, run: Path) -> tuple[Any, float]:
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
    clock, recipe = _Clock(), cell.recipe.model_copy(deep=True)
    if recipe.data.distinct_windows:
        recipe.data.distinct_windows = recipe.training.batch_size * (TIMED_STEPS + 2)
    cell = replace(cell, recipe=recipe)
    with tempfile.TemporaryDirectory() as place:
        task = cell.task(LONG)
        provider, _ = provider_of(task, cell, Path(place))
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
    file = run / "log.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
