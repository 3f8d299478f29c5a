"""Soft-DTW between the student's median and the teacher's median or the ground truth.

Shapes: B windows, H steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.alignment import UNREACHABLE, soft_dtw
from potstill.objectives.base import LossInputs
from potstill.objectives.checks import positive
from potstill.objectives.levels import teacher_forecast
from potstill.objectives.median import MedianTerm


class SoftDtw(MedianTerm):
    """Soft-DTW divergence between the medians of student and teacher, per step.

    Squared errors between steps that may be shifted against one another: a peak that comes a little late costs less
    than one that is missing. The divergence ``s(x, y) − s(x, x) / 2 − s(y, y) / 2`` of the soft-DTW ``s`` is at least
    0, and 0 for ``x = y``. Soft-DTW itself may be negative, and its minimum is a flattened y. Horizon weights do not
    apply, because a step is not compared with the step of the same number.

    Use it as a further term with a small weight, next to one that trains all quantiles.

    Parameters
    ----------
    gamma
        γ, in the squared scale of the context. The smaller, the fewer alignments contribute; towards 0 it becomes DTW,
        whose gradient jumps.

    Requirements
    ------------
    Teacher: ``forecast``. Batch: Windows; the future may be unknown.

    References
    ----------
    Cuturi and Blondel, "Soft-DTW: a Differentiable Loss Function for Time-Series", ICML 2017; Blondel, Mensch and Vert,
    "Differentiable Divergences between Time Series", AISTATS 2021.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.tensor([[[0.0, 0.0, 0.0, 3.0]]]), zero, one))
    >>> teacher = Output(Forecast(levels, torch.tensor([[[0.0, 0.0, 3.0, 3.0]]]), zero, one))  # a step earlier
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> SoftDtw(gamma=0.001)(LossInputs(batch, student, {"teacher": teacher})).round(decimals=2)  # mean square: 2.25
    tensor([0.])
    """

    name = "soft_dtw"
    requires = frozenset({"forecast"})

    def __init__(self, gamma: float = 0.1):
        self.gamma = positive(self.name, "gamma", gamma)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``, in the squared scale of the context."""
        student = self.median(inputs.student.forecast)
        return _divergence(student, self.median(teacher_forecast(inputs)).to(student), self.gamma)


class SoftDtwTruth(MedianTerm):
    """Soft-DTW divergence between the student's median and the ground truth, per known step; see ``soft_dtw``.

    Unknown steps are left out of both sequences before they are aligned.

    Parameters
    ----------
    gamma
        As in ``soft_dtw``.

    Requirements
    ------------
    Teacher: none. Batch: Windows with a future; windows without a known step are not counted.

    References
    ----------
    As ``soft_dtw``.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.tensor([[[0.0, 9.0, 0.0, 3.0]]]), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> batch.future[:] = torch.tensor([0.0, float("nan"), 3.0, 3.0])
    >>> SoftDtwTruth(gamma=0.001)(LossInputs(batch, student)).round(decimals=2)
    tensor([0.])
    """

    name = "soft_dtw_truth"

    def __init__(self, gamma: float = 0.1):
        self.gamma = positive(self.name, "gamma", gamma)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``, in the squared scale of the context; NaN if no step of the future is known."""
        forecast = inputs.student.forecast
        truth = forecast.scaled(inputs.windows.future)
        known = truth.isfinite()
        first_known = known.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
        student, truth = self.median(forecast).gather(1, first_known), truth.nan_to_num(0.0).gather(1, first_known)
        return _divergence(student, truth, self.gamma, known.sum(dim=1))


def _divergence(x: Tensor, y: Tensor, gamma: float, counts: Tensor | None = None) -> Tensor:
    """Soft-DTW divergence per step of ``x`` and ``y`` ``[B, H]``, or of their first ``counts [B]`` steps: ``[B]``."""
    between, own = soft_dtw(torch.cat([_costs(x, y, counts), _costs(x, x, counts)]), gamma).chunk(2)
    divergence = between - (own + soft_dtw(_costs(y, y, counts), gamma)) / 2
    if counts is None:
        return divergence / x.shape[1]
    return torch.where(counts > 0, divergence / counts.clamp(min=1), torch.nan)


def _costs(x: Tensor, y: Tensor, counts: Tensor | None) -> Tensor:
    """``[B, H, H]``: squared differences; beyond the first ``counts`` steps the diagonal is free, all else barred."""
    costs = (x[:, :, None] - y[:, None, :]).square()
    if counts is None:
        return costs
    step = torch.arange(x.shape[1], device=x.device)
    behind = torch.maximum(step[:, None], step) >= counts[:, None, None]
    barred = torch.where(step[:, None] == step, 0.0, UNREACHABLE).to(costs)
    return torch.where(behind, barred, costs)
