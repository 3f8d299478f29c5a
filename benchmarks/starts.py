"""What a student keeps of its teacher before any training: sizes, ways to start, layers, and known covariates.

The teacher is the embedded one or ``--teacher``; ``--data`` are the suite's files, or others, with ``--split``. Cuts
are calibrated on windows of the training part. Errors are the scaled quantile loss relative to seasonal naive on 512
windows of the validation part, geometric mean over data sets. The covariate test is 48 made series that events and a
level drive, both known ahead: the mean absolute error of the median with and without them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import torch

from potstill.families.base import Forecaster
from potstill.recipe import Recipe
from potstill.tasks.base import Task
from potstill.tasks.prepare import prepare
from potstill.types import Windows

CONTEXT, HORIZON, SERIES = 512, 96, 48
#: num_layers, d_model, d_ff, num_heads
SIZES = [
    (5, 256, 768, 4),
    (5, 192, 768, 4),
    (5, 128, 768, 4),
    (5, 96, 768, 4),
    (5, 64, 768, 4),
    (5, 256, 384, 4),
    (5, 256, 768, 2),
    (5, 112, 336, 4),
    (5, 96, 384, 4),
    (5, 96, 384, 1),
    (5, 64, 256, 4),
    (5, 64, 96, 3),
    (5, 48, 144, 4),
    (5, 64, 192, 2),
    (4, 256, 768, 4),
    (3, 256, 768, 4),
    (2, 256, 768, 4),
    (3, 144, 432, 4),
]
QUICK_SIZES = [(5, 256, 768, 4), (4, 64, 96, 3)]
LAYERS: dict[int, list[list[int]]] = {4: [[0, 1, 2, 3], [0, 1, 3, 4]], 3: [[0, 2, 4]]}
STARTS = ("random", "copy", "importance", "teacher")


def main() -> None:
    """Cut to every size, measure, print."""
    given = options()
    figures: dict[str, Any] = {"quick": given.quick, "teacher": {}, "sizes": {}}
    covariates = driven_series()
    for layers, width, neurons, heads in QUICK_SIZES if given.quick else SIZES:
        sizes = {"num_layers": layers, "d_model": width, "d_ff": neurons, "num_heads": heads}
        task = prepare(recipe(given, sizes))
        assert isinstance(task.teacher, Forecaster)
        validate: Any = task.validation()
        figures["teacher"] = figures["teacher"] or {
            "parameters": task.teacher.parameters,
            "windows": len(validate),
            **measured(task.teacher, validate, covariates),
        }
        of_size = {"parameters": task.architecture.parameters}
        of_size["share"] = of_size["parameters"] / figures["teacher"]["parameters"]
        of_size |= {start: measured(*task.started(start), validate, covariates) for start in STARTS}
        for kept in LAYERS.get(layers, []) if (width, given.quick) == (256, False) else []:
            task.recipe.student.layers = kept
            of_size[f"layers {kept}"] = measured(*task.started("teacher"), validate, covariates)
        figures["sizes"][f"{layers}/{width}/{neurons}/{heads}"] = of_size
        print(f"{layers}/{width}/{neurons}/{heads}", of_size, flush=True)
    figures["default"] = default_size(given, covariates)
    harness.finish(figures, given.output)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes: only checks that the script works")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    parser.add_argument("--teacher", default="embedded")
    parser.add_argument("--data", nargs="+", default=["embedded"], help="files or folders; default: the embedded data")
    parser.add_argument("--split", help="default: as for distill")
    return parser.parse_args()


def recipe(given: argparse.Namespace, sizes: dict[str, int]) -> Recipe:
    """A recipe with the teacher and data of the command line, in fp32."""
    data: dict[str, Any] = {"paths": given.data, "context_length": CONTEXT, "prediction_length": HORIZON}
    data |= {"split": given.split} if given.split else {}
    teacher = [{"source": given.teacher, "precision": "fp32"}]
    training = {"eval_windows": 64 if given.quick else 512, "device": "cpu"}
    return Recipe.model_validate(
        {"teacher": teacher, "student": {"overrides": sizes}, "data": data, "training": training}
    ).absolute()


def default_size(given: argparse.Namespace, covariates: tuple[Windows, Windows]) -> dict[str, Any]:
    """The student without sizes, with its default start."""
    task: Task = prepare(recipe(given, {}))
    config = task.architecture.config
    sizes = {key: getattr(config, key) for key in ("num_layers", "d_model", "d_ff", "num_heads")}
    found = measured(*task.started(task.start), task.validation(), covariates)
    return {**sizes, "parameters": task.architecture.parameters, "start": task.start, **found}


def measured(model: Any, *rest: Any) -> dict[str, float]:
    """Errors of a model on the validation windows and on the covariate test; lines about it may come between."""
    validate, (informed, alone) = rest[-2:]
    model.freeze()
    errors = {"rel_naive": validate(model)["rel_naive"]}
    for name, windows in (("with", informed), ("without", alone)):
        forecast = model.predict(windows, HORIZON)
        median = forecast.quantiles[:, int((forecast.levels - 0.5).abs().argmin())]
        errors[f"mae_{name}_covariates"] = float((median - windows.future).abs().mean())
    return errors


def driven_series() -> tuple[Windows, Windows]:
    """Windows that events and a piecewise constant level drive, with these two as known covariates, and without."""
    generator = torch.Generator().manual_seed(3)
    length = CONTEXT + HORIZON
    events = (torch.rand(SERIES, length, generator=generator) < 0.1).float()
    level = torch.zeros(SERIES, length)
    for row in level:
        first = 0
        while first < length:
            steps = int(torch.randint(10, 60, (1,), generator=generator))
            row[first : first + steps] = 2 * torch.randn(1, generator=generator)
            first += steps
    noise = 0.5 * torch.randn(SERIES, length, generator=generator)
    target = 4 * events + 2 * level + torch.sin(torch.arange(length) * 2 * torch.pi / 24) + noise
    known = torch.stack([events, level], dim=1)
    both = [Windows.of_context(target[:, :CONTEXT], HORIZON, future_covariates=known)]
    both.append(Windows.of_context(target[:, :CONTEXT], HORIZON))
    for windows in both:
        windows.future = target[:, CONTEXT:]
    return both[0], both[1]


if __name__ == "__main__":
    main()
