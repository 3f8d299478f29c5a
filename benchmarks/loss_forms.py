"""Which form of the loss trains a student well: one small mixer per form, from the same labels and first weights.

Every student takes the same number of steps on the same windows of the suite, labelled once by the embedded teacher
with a backtest. It is then measured on validation windows: SQL relative to seasonal naive, pinball loss, distance to
the teacher's quantiles, and the share of true values in the 80 % band. ``grid_kl`` and ``grid_cross_entropy`` are the
distribution terms with bins of fixed edges in arcsinh space, which Potstill does not use; they are defined here.

The suite is found as in the tests: POTSTILL_DATA, or shared/data next to the checkout. The labels stay in
runs/loss_forms.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np
import torch
from students import suite_folder
from students_train import ROOT
from torch import Tensor

from potstill.families.base import Forecaster
from potstill.objectives.base import LossInputs, Term
from potstill.objectives.cdf import Distributions
from potstill.objectives.pinball import Pinball
from potstill.objectives.quantile_match import QuantileMatch
from potstill.recipe import Recipe
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData
from potstill.types import Forecast, Output

STEPS, SEEDS, WINDOWS = 500, (0, 1), 400
QUICK_STEPS, QUICK_SEEDS, QUICK_WINDOWS = 4, (0,), 16
HORIZON, EDGES, RANGE = 48, 41, 5.0  # the grid: bins of 0.25 between −5 and 5 in arcsinh space
KL, CROSS_ENTROPY = "distribution_kl", "distribution_cross_entropy"
PROBABILITIES = {KL: {"temperature": 1.0}}
FORMS: dict[str, dict[str, Any]] = {
    "expected_pinball": {"alpha": 1.0},
    "quantile_match": {"alpha": 1.0, "soft": "quantile_match"},
    "huber_match": {"alpha": 1.0, "soft": "huber_match"},
    "cramer": {"alpha": 1.0, "soft": "cramer"},
    "KL, T 2": {"alpha": 1.0, "soft": KL},
    "KL, T 1": {"alpha": 1.0, "soft": KL, "terms": PROBABILITIES},
    "KL on a grid, T 1": {"alpha": 1.0, "soft": "grid_kl"},
    "pinball": {"alpha": 0.0},
    "cross-entropy": {"alpha": 0.0, "hard": CROSS_ENTROPY},
    "cross-entropy on a grid": {"alpha": 0.0, "hard": "grid_cross_entropy"},
    "0.5 KL, T 2, 0.5 cross-entropy": {"alpha": 0.5, "soft": KL, "hard": CROSS_ENTROPY},
    "0.5 KL, T 1, 0.5 cross-entropy": {"alpha": 0.5, "soft": KL, "hard": CROSS_ENTROPY, "terms": PROBABILITIES},
    "alpha 0.8": {"alpha": 0.8},
    "alpha 0.5": {"alpha": 0.5},
    "alpha 0.8 to 0.2": {"alpha": 0.8, "alpha_end": 0.2},
    "alpha 1 to 0.3, cosine": {"alpha": 1.0, "alpha_end": 0.3, "alpha_schedule": "cosine"},
    "alpha 0.8, gate": {"alpha": 0.8, "gate": True},
    "alpha 0.5, linear horizon weights": {"alpha": 0.5, "horizon_weights": {"kind": "linear"}},
    "alpha 0.5, exponential, tau 1": {"alpha": 0.5, "horizon_weights": {"kind": "exponential", "tau": 1.0}},
    "alpha 0.5, soft-DTW 0.1": {"alpha": 0.5, "terms": {"soft_dtw": {"weight": 0.1}}},
}


def on_grid(forecast: Forecast) -> Tensor:
    """Edges ``[B, H, E]`` of the grid in the space of a forecast's values."""
    edges = torch.linspace(-RANGE, RANGE, EDGES, dtype=torch.float64)
    edges = edges if forecast.arcsinh else edges.sinh()
    return edges.expand(forecast.values.shape[0], forecast.values.shape[2], -1).contiguous()


class GridKl(Term):
    """KL(teacher ‖ student) over the bins of the grid."""

    name, requires, task = "grid_kl", frozenset({"forecast"}), "forecast"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``."""
        forecast = inputs.student.forecast
        teacher = Distributions.of(inputs.teacher.forecast.in_scale_of(forecast))
        p, q = (of.masses(on_grid(forecast)) for of in (teacher, Distributions.of(forecast)))
        return inputs.mean_over_steps((p * (p.log() - q.log())).sum(dim=-1)).to(forecast.values)


class GridCrossEntropy(Term):
    """Cross-entropy on the bin of the grid that holds the truth."""

    name, task = "grid_cross_entropy", "forecast"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``."""
        forecast = inputs.student.forecast
        truth = forecast.scaled(inputs.windows.future)
        edges, known = on_grid(forecast), truth.isfinite()
        place = torch.searchsorted(edges, truth.nan_to_num(0.0).double()[..., None])
        loss = -Distributions.of(forecast).masses(edges).log().gather(-1, place)[..., 0]
        return inputs.mean_over_steps(loss, known).to(forecast.values)


def main() -> None:
    """Label once, train a student per form and seed, print the means over seeds."""
    given = harness.options(__doc__)
    steps, seeds, windows = (QUICK_STEPS, QUICK_SEEDS, QUICK_WINDOWS) if given.quick else (STEPS, SEEDS, WINDOWS)
    runs = ROOT / "runs" / ("loss_forms_quick" if given.quick else "loss_forms")
    task = task_of({"gate": True}, 0, steps)
    labels = task.label(runs / "labels")
    judged = task.validation_windows.batch(np.linspace(0, len(task.validation_windows) - 1, windows).astype(int))
    assert isinstance(task.teacher, Forecaster)
    taught = task.teacher.predict(judged, HORIZON)
    figures: dict[str, Any] = {"steps": steps, "seeds": len(seeds)}
    for name, form in FORMS.items():
        found = [train(task_of(form, seed, steps), labels, judged, taught) for seed in seeds]
        figures[name] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
        print(name, json.dumps(figures[name]), flush=True)
    backtest = labels.store.backtest(np.arange(labels.store.labelled()))
    assert backtest is not None
    figures["windows that the gate leaves to the truth"] = (backtest > 1).float().mean().item()
    harness.finish(figures, given.output)


def task_of(objective: dict[str, Any], seed: int, steps: int) -> ForecastTask:
    """The same run with another objective and seed; the windows are those of seed 0."""
    data = {"paths": [str(suite_folder())], "split": "suite", "context_length": 256, "prediction_length": HORIZON}
    training = {"max_steps": steps, "batch_size": 64, "learning_rate": 2e-3, "eval_windows": 400, "eval_steps": steps}
    tree = {
        "teacher": "embedded",
        "student": {"family": "mixer"},
        "data": {**data, "balance": 0.5},
        "objective": objective,
        "training": {**training, "device": "cpu", "precision": "fp32"},
    }
    task = prepare_forecasting(Recipe.model_validate(tree))
    task.recipe.training.seed = seed
    return task


def train(task: ForecastTask, labels: Any, judged: Any, taught: Forecast) -> dict[str, float]:
    """Train one student and measure it."""
    validate, data = task.validation(), TrainingData(labels.dataset(task.dataset(task.steps)), labels)
    run = task.training("student", data, task.steps, validate)
    folder = Path(tempfile.mkdtemp())
    began = time.process_time()
    run.run(folder, resume=False)
    took = time.process_time() - began
    shutil.rmtree(folder)
    student: Any = run.student
    forecast = student.predict(judged, HORIZON)
    inputs = LossInputs(judged, Output(forecast), {"teacher": Output(taught)})
    low, high = (forecast.at_levels(torch.tensor([level])).values[:, 0] for level in (0.1, 0.9))
    truth = forecast.scaled(judged.future)
    known = truth.isfinite()
    return {
        "sql_rel_naive": validate(student)["rel_naive"],
        "pinball": Pinball()(inputs).nanmean().item(),
        "distance_to_teacher": QuantileMatch()(inputs).mean().item(),
        "coverage_80": ((truth >= low) & (truth <= high))[known].float().mean().item(),
        "cpu_ms_per_step": 1000 * took / task.steps,
    }


if __name__ == "__main__":
    main()
