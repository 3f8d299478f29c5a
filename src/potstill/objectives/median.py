"""Squared errors of the median with respect to the teacher's median and to the ground truth."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from potstill.objectives.base import LossInputs, Requests, Term
from potstill.objectives.levels import median, median_index, teacher_forecast
from potstill.types import Forecast, ModelInfo


class MedianTerm(Term):
    """A term on the student's median.

    ``bind`` looks up the index of the median among the student's levels once: reading the levels of each forecast would
    wait for the GPU in every step.
    """

    task = "forecast"
    _levels: tuple[float, ...] | None = None

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo]) -> Requests:
        """Take the student's levels."""
        self._levels = student.levels
        return super().bind(student, teachers)

    def median(self, forecast: Forecast) -> Tensor:
        """``[B, H]`` of a forecast at the student's levels."""
        return median(forecast, median_index(self._levels or forecast.levels.tolist()))


class SoftMedian(MedianTerm):
    """Squared error between the medians of student and teacher, averaged over steps.

    Requirements
    ------------
    Teacher: ``forecast``. Batch: Windows; the future may be unknown.

    References
    ----------
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, adapted to regression.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.zeros(1, 1, 4), zero, one))
    >>> teacher = Output(Forecast(levels, torch.full((1, 1, 4), 2.0), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> SoftMedian()(LossInputs(batch, student, {"teacher": teacher}))
    tensor([4.])
    """

    name = "soft_median"
    requires = frozenset({"forecast"})

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``."""
        student = self.median(inputs.student.forecast)
        error = (student - self.median(teacher_forecast(inputs)).to(student)).square()
        return inputs.mean_over_steps(error)


class HardMedian(MedianTerm):
    """Squared error between the student's median and the ground truth, averaged over the known steps.

    Requirements
    ------------
    Teacher: none. Batch: Windows with a future; windows without a known step are not counted.

    References
    ----------
    The usual mean squared error, in the scale of the context.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.zeros(1, 1, 4), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> batch.future[:] = 3.0
    >>> HardMedian()(LossInputs(batch, student))
    tensor([9.])
    """

    name = "hard_median"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``; NaN if no step of the future is known."""
        forecast = inputs.student.forecast
        truth = forecast.scaled(inputs.windows.future)
        known = truth.isfinite()
        error = (self.median(forecast) - truth.nan_to_num(0.0)).square()
        return inputs.mean_over_steps(error, known)
