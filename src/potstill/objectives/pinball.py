"""Pinball (quantile) loss on the ground truth."""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs, Term
from potstill.objectives.levels import level_weights


class Pinball(Term):
    """Quantile loss on the ground truth: ``2 · Σ_q w_q · max(q·e, (q−1)·e)`` with spacing weights, over known steps.

    Requirements
    ------------
    Teacher: none. Batch: Windows with a future; windows without a known step are not counted.

    References
    ----------
    Koenker and Bassett, "Regression Quantiles", Econometrica 1978; Chronos-2 trains on the same loss.

    Examples
    --------
    >>> import torch
    >>> from potstill.types import Forecast, Output, Windows
    >>> levels, zero, one = torch.tensor([0.5]), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    >>> student = Output(Forecast(levels, torch.zeros(1, 1, 4), zero, one))
    >>> batch = Windows.of_context(torch.zeros(1, 8), 4)
    >>> batch.future[:] = 3.0
    >>> Pinball()(LossInputs(batch, student))
    tensor([3.])
    """

    name = "pinball"
    task = "forecast"

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``; NaN if no step of the future is known."""
        forecast = inputs.student.forecast
        truth = forecast.scaled(inputs.windows.future)
        known = truth.isfinite()
        error = truth.nan_to_num(0.0)[:, None] - forecast.values
        levels = forecast.levels[None, :, None]
        loss = 2 * torch.maximum(levels * error, (levels - 1) * error)
        return inputs.mean_over_steps(torch.einsum("bqh,q->bh", loss, level_weights(forecast.levels)), known)
