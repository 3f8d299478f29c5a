"""Cramér distance between the forecasts of teacher and student."""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs, Term
from potstill.objectives.expected_pinball import expected_loss, weights_within


class Cramer(Term):
    """Cramér distance ``∫ (F_student − F_teacher)²`` between the forecasts of each step, averaged over steps.

    It is the expected pinball loss of the student under the teacher minus that of the teacher itself, summed over the
    levels with spacing weights. So it has the gradient of ``expected_pinball`` and is 0 where the student equals the
    teacher, while ``expected_pinball`` keeps the spread of the teacher's own forecast.

    Requirements
    ------------
    Teacher: ``forecast``, at any levels and in any scale. Batch: Windows; the future may be unknown.

    References
    ----------
    Székely and Rizzo, "Energy statistics", 2013 (half the energy distance in one dimension); Gneiting and Raftery,
    "Strictly proper scoring rules", 2007, section 4.2 (the divergence of the CRPS).

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.25, 0.5, 0.75]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> values = torch.tensor([[[-1.0] * 4, [0.0] * 4, [1.0] * 4]])
    >>> student, teacher = (Output(Forecast(levels, v, zero, one)) for v in (values + 0.4, values))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> Cramer()(LossInputs(batch, student, {"teacher": teacher}))  # uniform on an interval of 4, shifted by 0.4
    tensor([0.0400])
    """

    name = "cramer"
    requires = frozenset({"forecast"})
    task = "forecast"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``, in the context's scale."""
        student = inputs.student.forecast
        teacher = inputs.teacher.forecast.in_scale_of(student)
        with torch.no_grad():
            least = expected_loss(teacher.at_levels(student.levels), teacher)
        loss = inputs.mean_over_steps(expected_loss(student, teacher) - least)
        return loss @ weights_within(student.levels, teacher.levels.to(student.levels))
