"""The pinball loss divided by the error of a seasonal naive forecast: a loss for the scaled quantile loss (SQL).

In the scale of the context, an error on a strongly seasonal series is small compared with the spread of its values.
MASE and the scaled quantile loss (SQL) measure it in units of the seasonal naive error. No calendar is needed: the best
lag is searched in the context. The weight does not depend on the future, so the quantiles stay unbiased.

Shapes: B windows, C context, H steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.base import LossInputs
from potstill.objectives.checks import positive
from potstill.objectives.pinball import Pinball

DEFAULT_FLOOR = 0.3  # in units of the context's scale
_MIN_PAIRS = 8  # pairs of known values that a lag needs


class ScaledPinball(Pinball):
    """Pinball loss divided by the error of copying the context at its best lag; see :func:`copy_error`.

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
        return super().__call__(inputs) / naive_scale(inputs, self.floor)


def naive_scale(inputs: LossInputs, floor: float) -> Tensor:
    """The divisor ``[B]`` of scaled terms: the copying error of the context plus ``floor``, in the context's scale."""
    context = inputs.student.forecast.scaled(inputs.windows.context)
    return copy_error(context, inputs.windows.future.shape[1]) + floor


def copy_error(context: Tensor, horizon: int) -> Tensor:
    """Error of copying the context at its best lag, ``[B]``; for noise, about the standard deviation.

    ``min over lags m of sqrt(mean (x_t − x_{t−m})² / 2)``, and at most the spread of the values.

    Parameters
    ----------
    context
        ``[B, C]``, NaN if missing; the newest value last.
    horizon
        Steps H that the copy must cover.
    """
    values, mask = context.nan_to_num(0.0, 0.0, 0.0).double(), context.isfinite().double()
    best = copy_errors(context, horizon).amin(dim=1).sqrt()
    spread = (values.square().sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sqrt()
    return torch.minimum(best, spread).to(context.dtype)


def best_lag(context: Tensor, horizon: int) -> Tensor:
    """The lag ``[B]`` at which copying the context has the smallest error; 0 if no lag has enough pairs of values."""
    errors = copy_errors(context, horizon)
    return torch.where(errors.isfinite().any(dim=1), errors.argmin(dim=1), 0)


def copy_errors(context: Tensor, horizon: int) -> Tensor:
    """``mean (x_t − x_{t−m})² / 2`` over pairs of known values, by lag m from 0: ``[B, C]`` float64.

    Infinite for lags below ``horizon`` (or a quarter of the history, if that is shorter), for lags above three quarters
    of the history, and for those with too few pairs.
    """
    known = context.isfinite()
    values, mask = context.nan_to_num(0.0, 0.0, 0.0).double(), known.double()
    length = context.shape[1]
    x, square, one = (torch.fft.rfft(part, 2 * length) for part in (values, values.square(), mask))

    def lagged(now: Tensor, past: Tensor) -> Tensor:
        return torch.fft.irfft(now * past.conj(), 2 * length)[:, :length]

    pairs = lagged(one, one).round()
    error = (lagged(square, one) + lagged(one, square) - 2 * lagged(x, x)).clamp(min=0) / (2 * pairs.clamp(min=1))
    span = length - known.int().argmax(dim=1, keepdim=True)
    lag = torch.arange(length, device=context.device)[None]
    first = torch.minimum(span // 4, torch.full_like(span, horizon)).clamp(min=1)
    allowed = (lag >= first) & (lag <= 3 * span // 4) & (pairs >= _MIN_PAIRS)
    return torch.where(allowed, error, torch.inf)
