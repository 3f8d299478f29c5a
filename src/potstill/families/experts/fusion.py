"""Run the chosen experts, each once and on its own windows, and fuse their forecasts level by level.

Shapes: B windows, N experts, Q levels of the mixture, H horizon.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from potstill.families.base import Forecaster
from potstill.families.standardise import standardise
from potstill.types import Forecast, Request, Windows


def common_scale(windows: Windows, levels: Tensor) -> Forecast:
    """An empty forecast that gives the scale and the levels in which experts are averaged: arcsinh, ``[B, Q, 0]``."""
    _, _, loc, scale = standardise(windows.context)
    values = windows.context.new_zeros(len(windows), len(levels), 0)
    return Forecast(levels.to(values.device), values, loc, scale, arcsinh=True)


def run_expert(expert: Forecaster, windows: Windows, horizon: int) -> Forecast:
    """An expert's forecast of windows of any length: contexts are cut, and long horizons are rolled out."""
    windows = windows.newest(expert.max_context)
    if horizon > expert.max_horizon:
        return expert.roll_out(windows, horizon)
    return expert.forward(windows, Request(horizon)).forecast


def aligned(forecast: Forecast, common: Forecast) -> Tensor:
    """The values ``[B, Q, H]`` of a forecast, sorted along Q, in the scale and at the levels of the mixture."""
    return forecast.at_levels(common.levels).in_scale_of(common).values


def dispatch(
    experts: Sequence[Forecaster], weights: Tensor, windows: Windows, horizon: int, levels: Tensor
) -> Forecast:
    """The weighted mean of the experts' forecasts; an expert runs on the windows where its weight is above 0.

    Parameters
    ----------
    experts
        N forecasters.
    weights
        ``[B, N]``; rows sum to 1.
    windows
        B windows; those of one group have the same weights.
    horizon
        Steps H.
    levels
        ``[Q]`` levels of the result.

    Returns
    -------
    Forecast
        ``[B, Q, H]``, sorted along Q.
    """
    common = common_scale(windows, levels)
    total = common.values.new_zeros(len(windows), len(levels), horizon)
    chosen = weights > 0
    for number, expert in enumerate(experts):
        rows = chosen[:, number].nonzero()[:, 0]
        if not len(rows):
            continue
        everything = len(rows) == len(windows)  # nothing is copied
        part = windows if everything else windows.take(rows)
        values = aligned(run_expert(expert, part, horizon), common if everything else common.take(rows))
        share = weights[:, number] if everything else weights[rows, number]
        weighted = values * share[:, None, None]
        total = total + weighted if everything else total.index_add(0, rows, weighted)
    return _forecast(common, total)


def fuse(common: Forecast, values: Tensor, weights: Tensor) -> Forecast:
    """The weighted mean of experts' values ``[B, N, Q, H]`` that are in the scale of ``common``."""
    with torch.autocast(values.device.type, enabled=False):  # bf16 would round the quantiles
        return _forecast(common, torch.einsum("bn,bnqh->bqh", weights, values))


def _forecast(common: Forecast, values: Tensor) -> Forecast:
    """A forecast of means of sorted quantiles, which are sorted themselves."""
    return Forecast(common.levels, values, common.loc, common.scale, arcsinh=True)
