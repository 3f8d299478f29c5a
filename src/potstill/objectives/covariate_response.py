"""Distance between what covariates change in the forecasts of teacher and student."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from potstill.objectives.base import LossInputs, Requests, Term
from potstill.objectives.checks import positive
from potstill.objectives.huber_match import huber_distance
from potstill.objectives.levels import teacher_forecast
from potstill.types import WITHOUT_COVARIATES, ModelInfo, Request


class CovariateResponse(Term):
    """Huber distance between the responses of student and teacher to covariates and to the other series of a group.

    The response is the forecast with them minus the forecast of the same window without them, at each level and step. A
    term on the forecast alone is dominated by what a window's own past tells; this one compares the effect of the
    covariates directly, by the distance of ``huber_match``. It needs a second pass of teacher and student. A batch of
    windows without covariates and groups has the loss 0.

    Parameters
    ----------
    delta
        In the scale of the context.

    Requirements
    ------------
    Teacher: ``forecast`` and ``without_covariates``, at any levels and in any scale; stored labels do not have the
    second. Batch: Windows; the future may be unknown.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> def output(with_them, without):
    ...     both = (Forecast(levels, torch.full((1, 1, 4), value), zero, one) for value in (with_them, without))
    ...     return Output(next(both), without_covariates=next(both))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> inputs = LossInputs(batch, output(3.0, 1.0), {"teacher": output(5.0, 2.0)})
    >>> CovariateResponse(delta=0.5)(inputs)  # responses of 2 and 3
    tensor([0.7500])
    """

    name = "covariate_response"
    requires = frozenset({"forecast", WITHOUT_COVARIATES})
    task = "forecast"

    def __init__(self, delta: float = 0.5):
        self.delta = positive(self.name, "delta", delta)

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo]) -> Requests:
        """Request the second pass of the student and of each teacher."""
        second = Request(without_covariates=True)
        return Requests(second, dict.fromkeys(teachers, second))

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``, in the context's scale."""
        student, alone = inputs.student.forecast, inputs.student.without_covariates
        if alone is None:
            return student.values.new_zeros(len(student.values))
        without = inputs.teacher.without_covariates
        assert without is not None, "the provider does not forecast without covariates, as the objective requests"
        response = student.values - alone.in_scale_of(student).values
        change = teacher_forecast(inputs).values - without.at_levels(student.levels).in_scale_of(student).values
        return huber_distance(inputs, response, change, self.delta)
