"""Small trainings: a student of one narrow layer, a few dozen steps, in this process or in one that may be killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from potstill.recipe import Recipe
from potstill.recipe.options import resolve
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TargetProvider, TrainingData
from potstill.teaching.stored import StoredForecasts
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.training.run import TrainingRun

PROCESSES = 2  # of a run that a launcher starts
STUDENT = {"num_layers": 1, "d_model": 32, "d_ff": 32, "num_heads": 1, "d_kv": 16}


def small_recipe(teacher: Path | None, data: Path, **training: Any) -> Recipe:
    """64 → 32 steps, batches of 8, fp32, an evaluation every 4 of 12 steps."""
    settings = {"batch_size": 8, "max_steps": 12, "eval_steps": 4, "eval_windows": 20, "precision": "fp32", **training}
    tree = {
        "student": {"overrides": STUDENT},
        "data": {"paths": [str(data)], "context_length": 64, "prediction_length": 32},
        "objective": {"alpha": 0.8 if teacher else 0.0},
        "training": settings,
        "evaluation": {"baselines": ["seasonal_naive"], "max_windows": 20},
    }
    return resolve(Recipe.model_validate({**tree, **({"teacher": str(teacher)} if teacher else {})}), {})


def small_run(
    recipe: Recipe, labels: Path | None = None, dataset: Any = None, provider: Any = None, **changes: Any
) -> TrainingRun:
    """The training of a recipe's student, taught live or from labels, with parts of it replaced."""
    task = prepare_forecasting(recipe)
    windows = dataset or task.dataset(task.steps)
    stored = StoredForecasts(ForecastStore.open(labels, task.dataset(task.steps))) if labels else None
    data = TrainingData(windows, provider or stored or task.live_teachers())
    run = task.training("student", data, task.steps, task.validation(), random_start=True)
    return replace(run, **changes)


class Stop(Exception):
    """What ends a run in the middle."""


def stopping(evaluation: int) -> Callable[[Any], dict[str, float]]:
    """A validation that ends the run at this evaluation, counted from 1."""
    seen: list[None] = []

    def validate(_: Any) -> dict[str, float]:
        seen.append(None)
        if len(seen) == evaluation:
            raise Stop
        return {"sql": 1.0}

    return validate


def log_lines(run: Path, event: str | None = None, model: str | None = None) -> list[dict[str, Any]]:
    """The lines of a run's log, or those of one event and one model."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if event in (None, line["event"]) and model in (None, line["model"])]


def losses(run: Path, name: str = "loss") -> list[float]:
    """A figure of all lines about the training of the student."""
    return [line[name] for line in log_lines(run, "train", "student")]


class Recorded:
    """A data set that notes the ids it was asked for, batch by batch."""

    def __init__(self, dataset: Any):
        self.dataset, self.batches = dataset, []
        self.stores_inputs = dataset.stores_inputs

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, ids: list[int]) -> Any:
        self.batches.append(list(ids))
        return self.dataset.batch(ids)


class Watched(TargetProvider):
    """A provider whose answers are looked at: ``look(batch, outputs)``."""

    def __init__(self, provider: TargetProvider, look: Any):
        self.provider, self.look = provider, look
        self.infos, self.stored = provider.infos, provider.stored

    def outputs(self, batch: Any, requests: Any) -> Any:
        found = self.provider.outputs(batch, requests)
        self.look(batch, found)
        return found
