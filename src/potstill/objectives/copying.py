"""The error of copying a context at its best lag: a seasonal naive forecast that needs no calendar.

Shapes: B windows, C context.
"""

from __future__ import annotations

import torch
from torch import Tensor

DEFAULT_FLOOR = 0.3  # of the divisor of scaled terms, in units of the context's scale
_MIN_PAIRS = 8  # pairs of known values that a lag needs


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
