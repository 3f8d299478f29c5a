"""Terms on the forecast itself, in the context's scale (arcsinh of it where the student works there).

Every term returns one loss per window ``[B]``. Shapes: B windows, Q levels, H steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs, Term
from potstill.types import Forecast


def level_weights(levels: Tensor) -> Tensor:
    """Half the distance between each level's neighbours (0 and 1 at the ends), summing to 1: ``[Q]``.

    Uneven levels then count by the probability mass they stand for, so that a sum over levels approximates an
    integral over the quantile function.
    """
    edges = torch.cat([levels.new_zeros(1), levels, levels.new_ones(1)])
    weights = (edges[2:] - edges[:-2]) / 2
    return weights / weights.sum()


def _answered(levels: Tensor, known: Tensor) -> Tensor:
    """Weights ``[Q]`` of the levels within what a teacher's levels span; of the nearest one where none is."""
    inside = (levels > known[0] - 1e-6) & (levels < known[-1] + 1e-6)
    if not inside.any():
        inside = levels == levels[(levels - known.mean()).abs().argmin()]
    weights = level_weights(levels) * inside
    return weights / weights.sum()


def taught(batch: LossInputs) -> Forecast:
    """The teacher's forecast at the student's levels and in the student's scale."""
    assert batch.teacher is not None, "a soft term needs a teacher or its labels"
    student = batch.student.forecast
    return batch.teacher.forecast.at_levels(student.levels).in_scale_of(student)


def median(forecast: Forecast) -> Tensor:
    """The forecast's median ``[B, H]``; interpolated where 0.5 is no level of its own, the gradient passes."""
    where = (forecast.levels - 0.5).abs().argmin()
    if abs(forecast.levels[where].item() - 0.5) < 1e-6:
        return forecast.values[:, where]
    return forecast.at_levels(forecast.levels.new_tensor([0.5])).values[:, 0]


class QuantileMatch(Term):
    """Absolute distance between the teacher's and the student's quantile functions, level by level.

    ``Σ_q w_q · |student_q − teacher_q|`` with spacing weights: an approximation of the 1-Wasserstein distance between
    the two forecasts of each step, averaged over steps. The teacher's levels are sorted and interpolated to the
    student's. Of the student's levels beyond the teacher's outermost ones the teacher says nothing, so they do not
    count: the truth alone teaches those tails.
    """

    name = "quantile_match"
    needs = frozenset({"forecast"})

    def __call__(self, batch: LossInputs) -> Tensor:
        """``[B]``."""
        assert batch.teacher is not None, "a soft term needs a teacher or its labels"
        student, known = batch.student.forecast, batch.teacher.forecast.levels
        distance = (student.values - taught(batch).values.to(student.values)).abs().mean(dim=2)
        return distance @ _answered(student.levels, known.to(student.levels))


class SoftMedian(Term):
    """Squared error between the student's and the teacher's median, averaged over steps."""

    name = "soft_median"
    needs = frozenset({"forecast"})

    def __call__(self, batch: LossInputs) -> Tensor:
        """``[B]``."""
        own = median(batch.student.forecast)
        return (own - median(taught(batch)).to(own)).square().mean(dim=1)


class HardMedian(Term):
    """Squared error between the student's median and the truth, averaged over the steps that are known."""

    name = "hard_median"

    def __call__(self, batch: LossInputs) -> Tensor:
        """``[B]``; NaN where no step of the future is known."""
        forecast = batch.student.forecast
        truth = forecast.scaled(batch.windows.future)
        known = truth.isfinite()
        error = (median(forecast) - truth.nan_to_num(0.0)).square()
        return _mean_known(error, known)


class Pinball(Term):
    """Quantile loss against the truth: ``2 · Σ_q w_q · max(q·e, (q−1)·e)`` with spacing weights, over known steps.

    Koenker and Bassett, "Regression Quantiles", Econometrica 1978; Chronos-2 trains on the same loss.
    """

    name = "pinball"

    def __call__(self, batch: LossInputs) -> Tensor:
        """``[B]``; NaN where no step of the future is known."""
        forecast = batch.student.forecast
        truth = forecast.scaled(batch.windows.future)
        known = truth.isfinite()
        error = truth.nan_to_num(0.0)[:, None] - forecast.values
        levels = forecast.levels[None, :, None]
        loss = 2 * torch.maximum(levels * error, (levels - 1) * error)
        return _mean_known(torch.einsum("bqh,q->bh", loss, level_weights(forecast.levels)), known)


def _mean_known(error: Tensor, known: Tensor) -> Tensor:
    count = known.sum(dim=1)
    total = (error * known).sum(dim=1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.nan)
