"""Divergence and cross-entropy of forecasts over bins of values, as for the classes of a classifier.

The bins are those between quantiles. So they are as fine as the forecast is sharp, in every window and at every step.

Shapes: B windows, H steps, Q student levels, Q + 1 bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs, Term
from potstill.objectives.cdf import Distributions
from potstill.objectives.checks import positive

_LOG_ZERO = -1e4  # in place of log(0) = −inf, which would make 0 · inf


class DistributionKl(Term):
    """KL(teacher ‖ student) at a temperature T, times T², over the bins between the teacher's quantiles.

    The edges of the bins are the teacher's quantiles at the student's levels, so that the teacher's probabilities are
    the differences of the levels. The student's probabilities follow from its distribution function: linear between its
    quantiles, with power tails (:mod:`potstill.objectives.cdf`). The divergence is 0 where the quantiles are equal.
    Levels of the student outside the range of the teacher's levels have no bin of their own; the hard term alone trains
    them.

    Parameters
    ----------
    temperature
        T: probabilities are raised to the power 1 / T and normalised, which gives small probabilities more weight.

    Requirements
    ------------
    Teacher: ``forecast``, at any levels and in any scale. Batch: Windows; the future may be unknown.

    References
    ----------
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.25, 0.5, 0.75]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> values = torch.tensor([[[-1.0] * 4, [0.0] * 4, [1.0] * 4]])
    >>> student, teacher = (Output(Forecast(levels, v, zero, one)) for v in (values, 2 * values))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> DistributionKl(1.0)(LossInputs(batch, student, {"teacher": student}))
    tensor([0.])
    >>> DistributionKl(1.0)(LossInputs(batch, student, {"teacher": teacher}))
    tensor([0.1050])
    """

    name = "distribution_kl"
    requires = frozenset({"forecast"})
    task = "forecast"

    def __init__(self, temperature: float = 2.0):
        self.temperature = positive(self.name, "temperature", temperature)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``, in nats times T²."""
        forecast = inputs.student.forecast
        student = Distributions.of(forecast)
        teacher = Distributions.of(inputs.teacher.forecast.in_scale_of(forecast))
        levels = student.levels.clamp(teacher.levels[0], teacher.levels[-1])
        p = torch.diff(levels, prepend=levels.new_zeros(1), append=levels.new_ones(1)).log().clamp(min=_LOG_ZERO)
        q = student.masses(teacher.points_at(levels).detach()).log()
        p, q = ((x / self.temperature).log_softmax(dim=-1) for x in (p, q))
        loss = self.temperature**2 * (p.exp() * (p - q)).sum(dim=-1)
        return inputs.mean_over_steps(loss).to(forecast.values)


class DistributionCrossEntropy(Term):
    """Cross-entropy on the bin of the ground truth, over the bins between the student's own quantiles.

    The bins stay where the quantiles are: the gradient is that of ``−log`` of the bin's probability with respect to the
    quantiles, not to the edges. It is 0 on average if every bin holds the truth as often as its levels say, that is,
    for calibrated quantiles.

    The probability is divided by the bin's width, so that the value is the negative logarithm of a density, in the
    scale of the context. A tail counts as wide as its scale, so that the loss of a truth far outside is finite.

    Requirements
    ------------
    Teacher: none. Batch: Windows with a future; windows without a known step are not counted.

    References
    ----------
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015: the cross-entropy with the true class.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.25, 0.75]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.tensor([[[-3.0] * 4, [3.0] * 4]]), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> batch.future[:] = 1.0
    >>> DistributionCrossEntropy()(LossInputs(batch, student))  # about −log(0.5 / 6)
    tensor([2.4876])
    """

    name = "distribution_cross_entropy"
    task = "forecast"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``, in nats; NaN if no step of the future is known."""
        forecast = inputs.student.forecast
        truth = forecast.scaled(inputs.windows.future)
        known = truth.isfinite()
        student = Distributions.of(forecast)
        place = torch.searchsorted(student.quantiles.detach(), truth.nan_to_num(0.0).double()[..., None])
        start, end = student.tail_scales
        widths = torch.cat([start, student.points.diff(dim=-1), end], dim=-1).detach()
        loss = (widths.log() - student.masses(student.points.detach()).log()).gather(-1, place)[..., 0]
        return inputs.mean_over_steps(loss, known).to(forecast.values)
