"""Expected pinball loss of the student when the truth is drawn from the teacher's forecast: the default soft term.

Shapes: B windows, Q student levels, K teacher levels, H steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from potstill.objectives.base import LossInputs, Term
from potstill.objectives.checks import positive
from potstill.objectives.copying import DEFAULT_FLOOR
from potstill.objectives.levels import level_weights
from potstill.types import Forecast

_SHORTEST = 1e-12  # a segment of length 0 has no density


class ExpectedPinball(Term):
    """Pinball loss, in expectation over the teacher's forecast distribution in place of the one observed truth.

    ``2 · Σ_q w_q · E_y[max(q·(y − x_q), (q − 1)·(y − x_q))]`` with spacing weights, averaged over steps. The teacher's
    distribution F has its quantiles at its levels and is linear between them. The expectation at level q is
    ``2 · (q·(E[y] − x) + ∫ F up to x)``, with gradient ``2 · (F(x) − q)``.

    Unit and weights are those of ``pinball``. So ``α · soft + (1 − α) · hard`` is minimised by the quantiles of the
    mixture ``α · teacher + (1 − α) · truth``: about 1 − α of a teacher's bias is corrected. Levels of the student
    outside the range of the teacher's levels are trained by the hard term alone.

    Requirements
    ------------
    Teacher: ``forecast``, at any levels and in any scale. Batch: Windows; the future may be unknown.

    References
    ----------
    Gneiting and Raftery, "Strictly proper scoring rules", 2007, section 6: the expected score under a forecast is
    minimised by that forecast's own quantiles.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(torch.tensor([0.5]), torch.zeros(1, 1, 4), zero, one))
    >>> levels = torch.tensor([0.25, 0.75])
    >>> teacher = Output(Forecast(levels, torch.tensor([[[1.0] * 4, [3.0] * 4]]), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> ExpectedPinball()(LossInputs(batch, student, {"teacher": teacher}))  # the teacher: uniform from 0 to 4
    tensor([2.])
    """

    name = "expected_pinball"
    requires = frozenset({"forecast"})
    task = "forecast"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``."""
        student = inputs.student.forecast
        teacher = inputs.teacher.forecast.in_scale_of(student)
        loss = inputs.mean_over_steps(expected_loss(student, teacher))
        return loss @ weights_within(student.levels, teacher.levels.to(student.levels))


class ScaledExpectedPinball(ExpectedPinball):
    """``expected_pinball`` divided by the error of copying the context at its best lag: the unit of ``scaled_pinball``.

    Parameters
    ----------
    floor
        As in ``scaled_pinball``.

    Requirements
    ------------
    Teacher: ``forecast``. Batch: Windows; the future may be unknown.

    References
    ----------
    Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006 (errors scaled by the naive error).

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.zeros(1, 1, 4), zero, one))
    >>> teacher = Output(Forecast(levels, torch.full((1, 1, 4), 3.0), zero, one))
    >>> batch = Windows.of_context(torch.tensor([[1.0, 2.0, 3.0, 4.0] * 8]), 4)
    >>> ScaledExpectedPinball(floor=0.5)(LossInputs(batch, student, {"teacher": teacher}))  # 3 / (0 + 0.5)
    tensor([6.])
    """

    name = "scaled_expected_pinball"

    def __init__(self, floor: float = DEFAULT_FLOOR):
        self.floor = positive(self.name, "floor", floor)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``."""
        return super().__call__(inputs) / (inputs.copy_error + self.floor)


def expected_loss(student: Forecast, teacher: Forecast) -> Tensor:
    """Expected pinball loss ``[B, Q, H]`` of each student quantile under the teacher, both in one scale."""
    levels = student.levels.to(student.values)[None, :, None]
    with torch.no_grad():
        x = student.values.detach()
        knots, mass = _distribution(teacher.values.to(x), teacher.levels.to(x))
        steps = knots.diff(dim=1)
        area = nn.functional.pad((steps * (mass[1:] + mass[:-1])[:, None] / 2).cumsum(dim=1), (0, 0, 1, 0))
        mean = (steps * (1 - (mass[1:] + mass[:-1])[:, None] / 2)).sum(dim=1, keepdim=True) + knots[:, :1]
        clamped = torch.minimum(torch.maximum(x, knots[:, :1]), knots[:, -1:])
        segment = _segment(knots, clamped)
        inside = clamped - knots.gather(1, segment)
        rise = (mass.diff()[:, None] / steps.clamp(min=_SHORTEST)).gather(1, segment) * inside
        below = mass.index_select(0, segment.flatten()).view_as(x)
        area = area.gather(1, segment).addcmul_(inside, below + rise / 2).add_((x - clamped).clamp_(min=0))
        value = torch.addcmul(area, levels, mean - x)
        share = below.add_(rise).masked_fill_(x < knots[:, :1], 0).masked_fill_(x > knots[:, -1:], 1)  # F(x)
        slope = share.sub_(levels)
    # value and derivative are known in closed form: autograd through the search would cost several times as much
    return 2 * (value + slope * (student.values - x))


def _segment(knots: Tensor, x: Tensor) -> Tensor:
    """The segment ``[B, Q, H]`` between two knots ``[B, K, H]`` that each x is in; the nearest one outside of them.

    Counts knots, which is six times as fast as ``torch.searchsorted`` on a CPU for so few of them.
    """
    count, above = torch.zeros_like(x), torch.empty_like(x)
    for knot in knots[:, 1:-1].unbind(dim=1):
        count += torch.ge(x, knot[:, None], out=above)  # a result of type bool takes nine times as long
    return count.long()


def _distribution(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Knots ``[B, K + 2, H]`` of the distribution function, ascending, and its values there ``[K + 2]``.

    The first and the last segment are extended until the function is 0 and 1. A single level is a point mass.
    """
    values = values.sort(dim=1).values
    low, high = values[:, :1], values[:, -1:]
    if len(levels) > 1:
        low = low - (values[:, 1:2] - low) * (levels[0] / (levels[1] - levels[0]))
        high = high + (high - values[:, -2:-1]) * ((1 - levels[-1]) / (levels[-1] - levels[-2]))
    mass = torch.cat([levels.new_zeros(1), levels, levels.new_ones(1)])
    return torch.cat([low, values, high], dim=1), mass


def weights_within(levels: Tensor, known: Tensor) -> Tensor:
    """Spacing weights ``[Q]``, 0 for levels outside the range of the teacher's levels; if none is within, the nearest.

    They are not normalised again, so that a level weighs the same here and in the loss on the truth.
    """
    inside = (levels > known[0] - 1e-6) & (levels < known[-1] + 1e-6)
    distance = (levels - known.mean()).abs()
    # no `if`: on a GPU it would wait for the device
    return level_weights(levels) * torch.where(inside.any(), inside, distance == distance.min())
