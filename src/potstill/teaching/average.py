"""Several teachers' forecasts of the same windows as one: quantile by quantile, in one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from potstill.types import Forecast

if TYPE_CHECKING:
    from torch import Tensor


def average_forecasts(forecasts: Sequence[Forecast], weights: Sequence[float] | Tensor | None = None) -> Forecast:
    """Average forecasts level by level (the Wasserstein barycentre), in the first one's levels, scale and arcsinh.

    Parameters
    ----------
    forecasts
        N forecasts of the same B windows and H steps; levels, scales and arcsinh may differ.
    weights
        ``[N]``, or ``[N, B]`` where they differ by window; made to sum to 1. Default: equal.

    Returns
    -------
    Forecast
        ``values [B, Q, H]`` sorted along Q; ``loc``, ``scale``, ``levels`` and ``arcsinh`` of ``forecasts[0]``.
    """
    import torch

    if not forecasts:
        raise ValueError("no forecasts to average")
    first = forecasts[0]
    share = torch.as_tensor([1.0] * len(forecasts) if weights is None else weights, dtype=torch.float32)
    share = share.to(first.values.device)
    if share.shape[0] != len(forecasts) or (share < 0).any() or not (share.sum(0) > 0).all():
        raise ValueError("weights must be one per forecast, none negative, not all zero")
    share = (share / share.sum(0)).reshape(len(forecasts), -1, 1, 1)
    aligned = [forecast.at_levels(first.levels).in_scale_of(first).values.float() for forecast in forecasts]
    values = sum(part * values for part, values in zip(share, aligned, strict=True))
    return replace(first, values=values)
