"""The weights of a run's teachers: as in the recipe, learned on validation windows, or from recent skill.

Shapes: N teachers, D data sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.evaluation.metrics import EVALUATION_LEVELS
from potstill.evaluation.validation import Validation
from potstill.families.base import Forecaster
from potstill.families.ensemble import average_forecasts
from potstill.families.weighting import FixedWeights, RecentSkill, Weighting
from potstill.recipe.teacher import TeacherConfig
from potstill.types import Forecast

OTHER = "other"  # key of the weight for data sets that are not named
LEAST_WINDOWS = 24  # validation windows that a data set needs for weights of its own
_STEPS, _RATE = 150, 0.1


def weighting_of(recipe: Any, teachers: Mapping[str, Forecaster], datasets: Sequence[str]) -> Weighting:
    """The weighting in the recipe; weights that were learned are fixed ones by then.

    Raises
    ------
    UserError
        For a weight of an unknown data set, or a data set for which all weights are 0.
    """
    if getattr(recipe, "ensemble", "fixed") == "recent":
        return RecentSkill(list(teachers.values()), recipe.data.prediction_length)
    named = [_by_name(teacher) for teacher in recipe.teacher]
    for teacher, weights in zip(recipe.teacher, named, strict=True):
        for name in weights:
            if name not in (*datasets, OTHER):
                raise UserError(
                    f"teacher {teacher.name or teacher.source}: weight: there is no data set {name!r}; known:"
                    f" {', '.join(datasets[:20])}.",
                    key="teacher.unknown_dataset",
                )
    table = {name: [weights.get(name, weights.get(OTHER, 1.0)) for weights in named] for name in (*datasets, OTHER)}
    for name, weights in table.items():
        if not any(weights):
            raise UserError(
                f"teacher: all weights are 0 for {name}; give one teacher a weight above 0.", key="teacher.no_weight"
            )
    by_dataset = {i: table[name] for i, name in enumerate(datasets) if table[name] != table[OTHER]}
    return FixedWeights(table[OTHER], by_dataset)


def learn_weights(
    teachers: Mapping[str, Forecaster], validation: Validation, datasets: list[str]
) -> list[dict[str, float]]:
    """For each teacher the weights, by data set, with the lowest loss of the average on validation windows.

    The loss is the scaled quantile loss, as in the validation of students. ``other`` is for all data sets together;
    data sets with at least ``LEAST_WINDOWS`` windows have weights of their own.
    """
    levels = torch.tensor(EVALUATION_LEVELS, dtype=torch.float32)
    forecasts = [
        model.predict(validation.windows, validation.future.shape[1]).at_levels(levels).take(validation.scored)
        for model in teachers.values()
    ]
    weights = {OTHER: _best(forecasts, validation, np.arange(len(validation.future)))}
    for number in np.unique(validation.dataset):
        rows = np.flatnonzero(validation.dataset == number)
        if len(rows) >= LEAST_WINDOWS:
            weights[datasets[number]] = _best(forecasts, validation, rows)
    return [{name: round(share[place], 3) for name, share in weights.items()} for place in range(len(teachers))]


def _best(forecasts: Sequence[Forecast], validation: Validation, rows: np.ndarray) -> list[float]:
    """Weights ``[N]`` with the lowest SQL of the average on some windows: gradient descent on their logarithms.

    Like the metric, the loss is a geometric mean over data sets.
    """
    forecasts = [forecast.take(rows).in_scale_of(forecasts[0].take(rows)) for forecast in forecasts]
    truth = torch.from_numpy(validation.future[rows]).double()
    scale = torch.from_numpy(validation.scale[rows]).double()
    number = torch.from_numpy(np.unique(validation.dataset[rows], return_inverse=True)[1])
    sizes = number.bincount()
    logits = torch.zeros(len(forecasts), requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, _STEPS)
    for _ in range(_STEPS):
        loss = _sql(average_forecasts(forecasts, logits.softmax(0)), truth) / scale
        by_dataset = torch.zeros(len(sizes), dtype=loss.dtype).index_add(0, number, loss) / sizes
        optimizer.zero_grad()
        by_dataset.log().mean().backward()
        optimizer.step()
        schedule.step()
    return logits.detach().softmax(0).tolist()


def _sql(forecast: Forecast, truth: Tensor) -> Tensor:
    """Quantile loss ``[n]`` in input units, differentiable: twice the pinball loss over levels and known steps."""
    values = forecast.values.double()
    values = values.sinh() if forecast.arcsinh else values
    known = truth.isfinite()
    quantiles = values * forecast.scale[:, :, None] + forecast.loc[:, :, None]
    error = truth.nan_to_num(0.0)[:, None] - quantiles
    levels = forecast.levels.double()[None, :, None]
    loss = 2 * torch.maximum(levels * error, (levels - 1) * error).mean(dim=1)
    return (loss * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def _by_name(teacher: TeacherConfig) -> dict[str, float]:
    return teacher.weight if isinstance(teacher.weight, dict) else {OTHER: teacher.weight}
