"""The pinball loss in units of what copying the past would cost: the training counterpart of SQL.

Instance-normalised losses hardly see a mistake on a cleanly seasonal series, whose whole spread is predictable, though
users (and MASE, SQL) measure exactly those in units of the seasonal naive error. The calendar is not needed for it: the
best lag is looked for in the context. Nothing of the future enters the weight, so the quantiles stay unbiased.

Shapes: B windows, C context, H steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.base import LossInputs
from potstill.objectives.output import Pinball

_PAIRS = 8  # values a lag must be seen on


class ScaledPinball(Pinball):
    """Pinball loss over the context's own copying error: see :func:`copy_error`.

    Parameters
    ----------
    floor
        Added to the copying error, in units of the context's scale: bounds a window's weight at ``1 / floor``.
    """

    name = "scaled_pinball"

    def __init__(self, floor: float = 0.3):
        if isinstance(floor, bool) or not isinstance(floor, (int, float)) or not 0 < floor < float("inf"):
            raise UserError(f"objective.terms.scaled_pinball.floor: {floor!r}; expected a number above 0.")
        self.floor = float(floor)

    def __call__(self, batch: LossInputs) -> Tensor:
        """``[B]``; NaN where no step of the future is known."""
        context = batch.student.forecast.scaled(batch.windows.context)
        return super().__call__(batch) / (copy_error(context, batch.windows.future.shape[1]) + self.floor)


def copy_error(context: Tensor, horizon: int) -> Tensor:
    """Error of the best copy of the past that reaches over the whole horizon: ``[B]``, about the spread for noise.

    ``min over lags m of sqrt(mean (x_t − x_{t−m})² / 2)`` for lags from ``horizon`` (or a quarter of the history, where
    that is short) to three quarters of the history, over pairs of known values.

    Parameters
    ----------
    context
        ``[B, C]``, NaN where missing; the newest value last.
    horizon
        Steps H that the copy must reach over.
    """
    known = context.isfinite()
    values, mask = context.nan_to_num(0.0, 0.0, 0.0).double(), known.double()
    length = context.shape[1]
    spectra = [torch.fft.rfft(part, 2 * length) for part in (values, values.square(), mask)]
    x, square, one = spectra

    def lagged(now: Tensor, past: Tensor) -> Tensor:
        return torch.fft.irfft(now * past.conj(), 2 * length)[:, :length]

    pairs = lagged(one, one).round()
    error = (lagged(square, one) + lagged(one, square) - 2 * lagged(x, x)).clamp(min=0) / (2 * pairs.clamp(min=1))
    span = length - known.int().argmax(dim=1, keepdim=True)
    lag = torch.arange(length, device=context.device)[None]
    first = torch.minimum(span // 4, torch.full_like(span, horizon)).clamp(min=1)
    open_ = (lag >= first) & (lag <= 3 * span // 4) & (pairs >= _PAIRS)
    best = torch.where(open_, error, torch.inf).amin(dim=1).sqrt()
    spread = (values.square().sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sqrt()
    return torch.minimum(best, spread).to(context.dtype)
