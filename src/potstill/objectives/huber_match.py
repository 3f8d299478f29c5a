"""Huber distance between the quantiles of teacher and student."""

from __future__ import annotations

from torch import Tensor, nn

from potstill.objectives.base import LossInputs, Term
from potstill.objectives.checks import positive
from potstill.objectives.expected_pinball import weights_within
from potstill.objectives.levels import teacher_forecast


class HuberMatch(Term):
    """Huber distance between the quantiles of student and teacher at each level, with spacing weights.

    ``e² / (2 · delta)`` up to a distance of ``delta`` and ``|e| − delta / 2`` beyond, averaged over steps: for distant
    quantiles the same as ``quantile_match``, for close ones differentiable. So the truth can move the student away from
    the teacher at any α below 1, by a distance that is proportional to ``delta``. The teacher's levels are sorted and
    interpolated to the student's. Levels of the student beyond the teacher's outermost ones are not compared.

    Parameters
    ----------
    delta
        In the scale of the context.

    Requirements
    ------------
    Teacher: ``forecast``, at any levels and in any scale. Batch: Windows; the future may be unknown.

    References
    ----------
    Huber, "Robust estimation of a location parameter", 1964, divided by ``delta``.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.zeros(1, 1, 4), zero, one))
    >>> teacher = Output(Forecast(levels, torch.tensor([[[0.2, 0.2, 2.0, 2.0]]]), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> HuberMatch(delta=0.5)(LossInputs(batch, student, {"teacher": teacher}))  # 0.04 / 1 and 2 − 0.25
    tensor([0.8950])
    """

    name = "huber_match"
    requires = frozenset({"forecast"})
    task = "forecast"

    def __init__(self, delta: float = 0.5):
        self.delta = positive(self.name, "delta", delta)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``, in the context's scale."""
        teacher = teacher_forecast(inputs).values
        return huber_distance(inputs, inputs.student.forecast.values, teacher, self.delta)


def huber_distance(inputs: LossInputs, student: Tensor, teacher: Tensor, delta: float) -> Tensor:
    """``[B]``: the distance of ``[B, Q, H]`` at the student's levels, as in :class:`HuberMatch`."""
    distance = nn.functional.huber_loss(student, teacher.to(student), reduction="none", delta=delta) / delta
    levels = inputs.student.forecast.levels
    return inputs.mean_over_steps(distance) @ weights_within(levels, inputs.teacher.forecast.levels.to(levels))
