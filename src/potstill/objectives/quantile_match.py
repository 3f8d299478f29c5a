"""Absolute distance between the quantiles of teacher and student."""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs, Term
from potstill.objectives.levels import level_weights, teacher_forecast


class QuantileMatch(Term):
    """L1 distance between the quantiles of student and teacher at each level.

    ``Σ_q w_q · |student_q − teacher_q|`` with spacing weights, averaged over steps: this approximates the
    1-Wasserstein distance between the two forecasts of each step. The teacher's levels are sorted and interpolated to
    the student's. Levels of the student beyond the teacher's outermost ones are not compared; only the
    hard term trains them.

    Requirements
    ------------
    Teacher: ``forecast``, at any levels and in any scale. Batch: Windows; the future may be unknown.

    Caution
    -------
    The loss is not differentiable at the teacher's quantiles. Combined with a pinball loss, α ≥ 0.5 pins the student to
    the teacher's quantiles: the ground truth cannot correct a bias of the teacher. Measured with normal truths, and a
    teacher that is 0.3 or 1 standard deviations too high: at α 0.5 and 0.8 the truth corrects 0 % of the bias at levels
    0.1, 0.5 and 0.9. With ``expected_pinball`` it corrects about 1 − α.

    References
    ----------
    Villani, "Optimal Transport", 2009 (the 1-Wasserstein distance in one dimension).

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.zeros(1, 1, 4), zero, one))
    >>> teacher = Output(Forecast(levels, torch.full((1, 1, 4), 2.0), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> QuantileMatch()(LossInputs(batch, student, {"teacher": teacher}))
    tensor([2.])
    """

    name = "quantile_match"
    requires = frozenset({"forecast"})
    task = "forecast"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``."""
        student, known = inputs.student.forecast, inputs.teacher.forecast.levels
        distance = (student.values - teacher_forecast(inputs).values.to(student.values)).abs()
        return inputs.mean_over_steps(distance) @ _weights_within(student.levels, known.to(student.levels))


def _weights_within(levels: Tensor, known: Tensor) -> Tensor:
    """Weights ``[Q]`` of the levels within the range of the teacher's levels; if there is none, of the nearest one."""
    inside = (levels > known[0] - 1e-6) & (levels < known[-1] + 1e-6)
    distance = (levels - known.mean()).abs()
    # no `if`: on a GPU it would wait for the device
    weights = level_weights(levels) * torch.where(inside.any(), inside, distance == distance.min())
    return weights / weights.sum()
