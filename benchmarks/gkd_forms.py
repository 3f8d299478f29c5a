"""TRL's GKD on a Chronos-2, quantile by quantile (heads) or as one distribution (bins), next to Potstill's own loss.

The embedded teacher, a student of about a twentieth of its size, ETTh1, the same steps for all, windows of the data
only (lmbda 0). ``bins`` does not depend on the order of the heads: heads may exchange places and then cross. Crossing
is the share of neighbouring levels whose heads are in the wrong order on the test part, before they are sorted for
use. SQL (scaled quantile loss) is that of the sorted quantiles, relative to seasonal naive.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import torch

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.recipe import Recipe, SeriesData
from potstill.types import Request
from potstill.verbs import distill

STEPS, QUICK_STEPS, WINDOWS = 800, 8, 256
SHARED = {
    "teacher": "embedded",
    "student": "chronos2:num_layers=2,d_model=96,num_heads=3,d_kv=32,d_ff=192",
    "data": {"paths": ["embedded"], "split": "ett", "context_length": 512, "prediction_length": 96},
    "training": {"learning_rate": 2e-3, "batch_size": 32, "eval_windows": 128, "precision": "fp32"},
    "evaluation": {"max_windows": 200, "baselines": ["seasonal_naive"]},
}
ARMS: dict[str, dict[str, Any]] = {
    "quantile_match": {"objective.alpha": 1.0},
    "heads": {"training.algorithm": "gkd", "training.gkd": {"lmbda": 0.0, "form": "heads"}},
    "bins": {"training.algorithm": "gkd", "training.gkd": {"lmbda": 0.0, "form": "bins"}},
}


def main() -> None:
    """Train the arms, measure crossing, print."""
    given = harness.options(__doc__)
    figures: dict[str, Any] = {"quick": given.quick, "steps": QUICK_STEPS if given.quick else STEPS}
    with TemporaryDirectory() as folder:
        for arm, over in ARMS.items():
            keys = {**over, "training.max_steps": figures["steps"]}
            recipe = Recipe.lay_over(json.loads(json.dumps(SHARED)), keys)
            run = distill(recipe, Path(folder) / arm)
            metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            (of_student,) = metrics["models"]["student"].values()
            (of_teacher,) = metrics["models"]["teacher"].values()
            figures["teacher"] = {"sql_rel_naive": of_teacher["sql_rel_naive"]}
            figures[arm] = {"sql_rel_naive": of_student["sql_rel_naive"], "coverage_80": of_student["coverage_80"]}
            figures[arm]["crossing"] = crossing(load_forecaster(run / "student").freeze(), recipe)
    harness.finish(figures, given.output)


@torch.no_grad()
def crossing(student: Forecaster, recipe: Recipe) -> float:
    """Share of neighbouring levels in the wrong order, over windows spread evenly over the test part."""
    data = recipe.data
    assert isinstance(data, SeriesData)
    windows = SeriesWindows(open_store(data), data, "test")
    batch = windows.batch(torch.linspace(0, len(windows) - 1, WINDOWS).long().tolist())
    heads = student.forward(batch, Request(data.prediction_length)).forecast.values
    return float((heads.diff(dim=1) < 0).float().mean())


if __name__ == "__main__":
    main()
