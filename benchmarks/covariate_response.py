"""What the term ``covariate_response`` changes: the same student after the same steps, with the term and without it.

The series are those of ``covariates.py``: an event and a level, known ahead, drive the target. Students of a third of
the embedded teacher's size, cut from its weights, learn from its forecasts alone (α = 1), so that what they know of the
covariates comes from the teacher. On new windows: the mean absolute error (MAE) of the median with and without the
covariates, the share of the possible gain that a model uses, and how far its response to them (median with minus median
without) is from the teacher's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd
import torch
from covariates import CONTEXT, HORIZON, Task, median, used

import potstill
from potstill.families.load import load_forecaster
from potstill.recipe import Recipe
from potstill.types import Windows

SERIES, TESTED = 400, 400
STUDENT = {"num_layers": 5, "d_model": 112, "d_ff": 336, "num_heads": 4, "d_kv": 64}
WEIGHTS = {"without the term": 0.0, "weight 0.5": 0.5, "weight 2": 2.0}


def main() -> None:
    """Train a student for each weight and seed, forecast, print the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/covariate-response"))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    steps, seeds, count = (4, [0], 20) if given.quick else (given.steps, given.seeds, TESTED)
    runs = given.runs / "quick" if given.quick else given.runs
    train, test = table(Task(SERIES, seed=1)), Task(count, seed=2)
    teacher = responses(load_forecaster("embedded"), test)
    figures: dict[str, Any] = {
        "quick": given.quick,
        "steps": steps,
        "windows": count,
        "teacher": summary(teacher, test),
    }
    for name, weight in WEIGHTS.items():
        students = [
            responses(potstill.load(student(train, runs / f"{weight:g}-{seed}", weight, steps, seed)), test)
            for seed in seeds
        ]
        each = [summary(one, test, teacher) for one in students]
        figures[name] = {key: [one[key] for one in each] for key in each[0]}
    harness.finish(figures, given.output)


def table(task: Task) -> pd.DataFrame:
    """The windows of a task as series of a long table."""
    count, length = task.target.shape
    times = pd.date_range("2024-01-01", periods=length, freq="h")
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(count)], length),
            "ds": np.tile(times, count),
            "y": task.target.ravel(),
            "event": task.covariates[:, 0].ravel(),
            "level": task.covariates[:, 1].ravel(),
        }
    )


def student(train: pd.DataFrame, run: Path, weight: float, steps: int, seed: int) -> Path:
    """A finished student's folder; it is trained if it is not there."""
    if not (run / "metrics.json").exists():
        keys: dict[str, Any] = {
            "data.known": ["event", "level"],
            "data.context_length": CONTEXT // 2,  # so that a series has some windows
            "data.prediction_length": HORIZON,
            "data.split": "4:1:1",
            "student.overrides": STUDENT,
            "objective.alpha": 1.0,
            "training.max_steps": steps,
            "training.batch_size": 16,
            "training.seed": seed,
            "training.device": "cpu",
            "training.calibrate": False,
            "evaluation.baselines": [],
            "evaluation.max_windows": 20,
        }
        keys |= {"objective.terms": {"covariate_response": {"weight": weight}}} if weight else {}
        potstill.distill(Recipe.lay_over({}, keys), run, teacher="embedded", data=train, target="y")
    return run


def responses(model: Any, task: Task) -> dict[str, np.ndarray]:
    """Medians ``[n, H]`` with and without the covariates."""
    context = torch.from_numpy(task.target[:, :CONTEXT]).float()
    known = torch.from_numpy(task.covariates).float()
    return {
        "known": median(model, Windows.of_context(context, HORIZON, future_covariates=known)),
        "without": median(model, Windows.of_context(context, HORIZON)),
    }


def summary(found: dict[str, np.ndarray], task: Task, teacher: dict[str, np.ndarray] | None = None) -> dict[str, Any]:
    """The figures of a model."""
    known, without = (task.errors(found[arm]) for arm in ("known", "without"))
    figures: dict[str, Any] = {
        "mae_known": known.mean(),
        "mae_without": without.mean(),
        "used": used(without, known, task.errors(task.mean[:, CONTEXT:])),
    }
    if teacher is not None:
        own, theirs = (one["known"] - one["without"] for one in (found, teacher))
        figures["response_error"] = float(np.abs(own - theirs).mean() / np.abs(theirs).mean())
    return figures


if __name__ == "__main__":
    main()
