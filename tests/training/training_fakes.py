"""Small trainings: a student of one narrow layer, a few dozen steps, in this process or in one that may be killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from potstill.evaluation.validation import Validation
from potstill.recipe import Recipe
from potstill.recipe.options import resolve
from potstill.tasks.forecasting import prepare
from potstill.tasks.training_data import live, stored
from potstill.teaching.stores.forecasts import LabelStore
from potstill.training.fit import TrainingRun

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


def small_fit(recipe: Recipe, labels: Path | None = None, **changes: Any) -> TrainingRun:
    """The training of a recipe's student, taught live or from labels, with parts of it replaced."""
    setup = prepare(recipe)
    set_seed(recipe.training.seed)
    student = setup.family.build(setup.architecture, recipe.training.dropout)
    windows = setup.training_windows(setup.steps)
    fit = TrainingRun(
        name="student",
        student=student,
        objective=setup.objective(),
        dataset=windows,
        teach=stored(LabelStore.open(labels, windows)) if labels else live(list(setup.teachers.values()), [1.0]),
        validate=Validation(setup.validation, recipe.training.eval_windows),
        config=setup.recipe.training,
        steps=setup.steps,
        horizon=setup.recipe.data.prediction_length,
        device="cpu",
        describe=lambda batch: ", ".join(setup.store.names[i] for i in batch.series.unique()),
    )
    return replace(fit, **changes)


def log_lines(run: Path, event: str | None = None) -> list[dict[str, Any]]:
    """The lines of a run's log, or those of one event."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if event in (None, line["event"])]


class Recorded:
    """A data set that notes the ids it was asked for, batch by batch."""

    def __init__(self, dataset: Any):
        self.dataset, self.batches = dataset, []
        self.stores_inputs = dataset.stores_inputs

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, ids: list[int]) -> Any:
        self.batches.append(list(ids))
        return self.dataset.__getitems__(ids)
