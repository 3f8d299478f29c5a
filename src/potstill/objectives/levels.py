"""Functions for terms on forecasts: weights of quantile levels, the teacher at the student's levels, the median.

Shapes: B windows, Q levels, H steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs
from potstill.types import Forecast


def level_weights(levels: Tensor) -> Tensor:
    """Half the distance between each level's neighbours (0 and 1 at the ends), summing to 1: ``[Q]``.

    Unevenly spaced levels are weighted by the probability mass they represent, so that a sum over levels approximates
    an integral over the quantile function.
    """
    edges = torch.cat([levels.new_zeros(1), levels, levels.new_ones(1)])
    weights = (edges[2:] - edges[:-2]) / 2
    return weights / weights.sum()


def teacher_forecast(inputs: LossInputs) -> Forecast:
    """The teacher's forecast at the student's levels and in the student's scale."""
    student = inputs.student.forecast
    return inputs.teacher.forecast.at_levels(student.levels).in_scale_of(student)


def median_index(levels: Sequence[float]) -> int | None:
    """The index of 0.5 in ascending levels; None if it is not one of them."""
    return next((index for index, level in enumerate(levels) if abs(level - 0.5) < 1e-6), None)


def median(forecast: Forecast, index: int | None = None) -> Tensor:
    """The forecast's median ``[B, H]``: its level at ``index``, or interpolated (differentiably) if that is None."""
    if index is not None:
        return forecast.values[:, index]
    return forecast.at_levels(forecast.levels.new_tensor([0.5])).values[:, 0]
