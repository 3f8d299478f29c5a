"""A teacher's backtest: its error on the last steps of each context, relative to a seasonal naive forecast.

Shapes: B windows, C context steps, N steps of the backtest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.objectives.copying import best_lag
from potstill.objectives.levels import median
from potstill.types import Forecast, Windows

LEAST_KNOWN = 0.5  # share of the steps that must be known for a judgement


def relative_error(windows: Windows, forecast: Forecast) -> Tensor:
    """Absolute error of a forecast's median divided by that of a seasonal naive forecast: ``[B]`` float32.

    The seasonal naive forecast repeats the context at the lag at which the context repeats itself best. Both errors are
    those of the steps where the truth and the copied value are known, in the scale of the context.

    Parameters
    ----------
    windows
        Windows with known futures of N steps, as returned by ``Windows.earlier``.
    forecast
        The teacher's forecast of these windows, ``[B, Q, N]``.

    Returns
    -------
    Tensor
        Above 1 where the teacher is worse; NaN where fewer than half of the steps can be compared.
    """
    steps = windows.future.shape[1]
    context, truth = forecast.scaled(windows.context), forecast.scaled(windows.future)
    lag = best_lag(context, steps)[:, None]
    ahead, back = torch.arange(steps, device=context.device), lag.clamp(min=1)
    copied = context.gather(1, context.shape[1] - back + ahead % back)
    known = truth.isfinite() & copied.isfinite() & (lag > 0)
    errors = ((guess.to(truth) - truth).abs().where(known, 0.0).sum(dim=1) for guess in (median(forecast), copied))
    teacher, naive = errors
    return (teacher / naive).where(known.sum(dim=1) >= LEAST_KNOWN * steps, torch.nan)
