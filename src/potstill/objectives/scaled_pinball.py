"""The pinball loss divided by the error of a seasonal naive forecast: a loss for the scaled quantile loss (SQL).

In the scale of the context, an error on a strongly seasonal series is small compared with the spread of its values.
MASE and the scaled quantile loss (SQL) measure it in units of the seasonal naive error. The weight does not depend on
the future, so the quantiles stay unbiased.
"""

from __future__ import annotations

from torch import Tensor

from potstill.objectives.base import LossInputs
from potstill.objectives.checks import positive
from potstill.objectives.copying import DEFAULT_FLOOR
from potstill.objectives.pinball import Pinball


class ScaledPinball(Pinball):
    """Pinball loss divided by the error of copying the context at its best lag (``LossInputs.copy_error``).

    Parameters
    ----------
    floor
        Added to the copying error, in units of the context's scale: bounds a window's weight at ``1 / floor``.

    Requirements
    ------------
    Teacher: none. Batch: Windows with a future; windows without a known step are not counted.

    References
    ----------
    Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006 (errors scaled by the naive error).

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.zeros(1, 1, 4), zero, one))
    >>> batch = Windows.of_context(torch.tensor([[1.0, 2.0, 3.0, 4.0] * 8]), 4)
    >>> batch.future[:] = 3.0
    >>> ScaledPinball(floor=0.5)(LossInputs(batch, student))  # exactly seasonal: 3 / (0 + 0.5)
    tensor([6.])
    """

    name = "scaled_pinball"

    def __init__(self, floor: float = DEFAULT_FLOOR):
        self.floor = positive(self.name, "floor", floor)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``; NaN if no step of the future is known."""
        return super().__call__(inputs) / (inputs.copy_error + self.floor)
